"""Why a request gave nothing."""

from __future__ import annotations


class Failed(Exception):
    """A request that gave nothing.

    Parameters
    ----------
    reason
        A few words, the same every time: they end up in `failed.txt`. No numbers that vary.
    transient
        Whether another try may succeed.
    retry_after
        Seconds that the server asks to wait before it.
    """

    def __init__(self, reason: str, *, transient: bool, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient
        self.retry_after = retry_after
