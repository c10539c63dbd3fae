"""Resources as people write them: pydantic models, refusals that name field, value and fix, and the way to a `Task`.

Not here: reading files or clusters (`sources`), deciding anything about time (`domain`).
"""
