from pool import pool

__all__ = ["pool"]
