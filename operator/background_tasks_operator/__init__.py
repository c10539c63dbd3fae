"""Keeps pools right on Kubernetes; runs no task."""
