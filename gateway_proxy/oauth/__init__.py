"""The authorization server (OAuth 2.1, RFC 8414, 7591, 7009, 7662, 8707, 9207, 9728 and client metadata documents).

Start at `routes`. No bearer token is checked here: that is `auth`.
"""
