"""The roles of a member. What a role may ask for is in `principal`."""

from enum import StrEnum


class Role(StrEnum):
    """What a member may do in a tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
