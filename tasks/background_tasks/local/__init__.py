"""The laptop: embedded stores, worker processes, reload on file change. Nothing here is needed in a pod."""
