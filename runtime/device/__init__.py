"""Memory, streams, events and graphs of a GPU, and the session that keeps it busy with batches.

`protocols` defines what a device must offer; `cuda` and `pycuda` implement it; `open` chooses between them. Nothing
here imports an engine library.
"""
