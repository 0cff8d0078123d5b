"""OpenAPI services as backends: a document becomes tools, a tool call becomes one HTTP request.

`services` is the door. Behind it `fetching` gets the document and `reading` has it read by a process of its own
(`reader`, with `parsing`, `references`, `schemas`, `arguments`, `outputs`, `operations`); the outcome is a `plan`.
A call goes through `requests` (with `paths` and `styles`) and comes back through `results`.
"""
