"""The cluster as reconciling sees it: watches by kopf, everything else by the project's own client.

Not here: decisions. This is the only room that knows kopf.
"""
