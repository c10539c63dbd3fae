"""The wire to a Kubernetes API server: `client` asks and writes, `reflector` follows, `resources` names what there is.

Not here: what any object means. Bodies stay raw dicts: the library's models drop fields that they do not know.
"""
