"""One pass for one key: gather what was told, let `plan` decide, apply. Over its own small port (`ports`).

Not here: watching and the wire (`kube`), what must exist (`plan`).
"""
