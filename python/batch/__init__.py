"""Batch jobs: the same stages on many machines, divided, watched and put together again."""
