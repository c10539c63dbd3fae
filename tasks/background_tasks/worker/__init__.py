"""Composition: which coroutine a name stands for, what a worker is made of, in which order it stops. No new behaviour."""
