"""What a server answers to a request that it cannot serve."""

from __future__ import annotations


class RequestError(Exception):
    """A request that gets an error for an answer.

    Parameters
    ----------
    status
        The status code of HTTP.
    reason
        One sentence: what is wrong, and the remedy.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
