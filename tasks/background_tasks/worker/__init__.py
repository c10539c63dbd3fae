"""Composition: which coroutine a name stands for, what a worker is made of, how it stops. No new behaviour."""
