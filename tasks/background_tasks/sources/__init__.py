"""Where tasks come from: files here, a cluster's API elsewhere. A body comes in, resources and refusals go out.

Not here: what makes a resource sound (`api`), schedules, runs.
"""
