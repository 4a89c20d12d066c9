"""Memory, streams, events and graphs of a GPU, and the session that keeps it busy with batches.

`protocols` says what is needed of a device; `cuda` and `pycuda` provide it; `open` chooses between them. Nothing here
imports an engine library.
"""
