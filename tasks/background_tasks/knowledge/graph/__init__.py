"""The memory's graph: its model, its schema, and the few ways in which it may be changed."""
