"""Work for something that may be slow or away, done in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lockstep.core.errors import LockstepError

_PAUSE, _LONGEST_PAUSE = 15.0, 600.0


class Outbox:
    """Calls `deliver` in its thread when it is woken, and `finish` when it is closed.

    Nobody waits for that longer than they say. When `deliver` fails, nothing is tried for 15
    seconds, and after each further failure for twice as long, up to ten minutes; `fails` is told
    the first failure of a row.
    """

    def __init__(
        self,
        deliver: Callable[[], None],
        finish: Callable[[], None],
        fails: Callable[[LockstepError], None],
    ) -> None:
        """Start with a first delivery."""
        self._deliver, self._finish, self._fails = deliver, finish, fails
        self._changed = threading.Condition()
        self._due, self._closing, self._abandoned = True, False, False
        self._tried, self._ended = threading.Event(), threading.Event()
        self.error: LockstepError | None = None
        """Why the last delivery failed, if it did."""
        # A daemon: the program's end does not wait for it either.
        threading.Thread(target=self._work, name="outbox", daemon=True).start()

    def wake(self) -> None:
        """There is something to deliver."""
        with self._changed:
            self._due = True
            self._changed.notify()

    def wait_for_first(self, seconds: float) -> bool:
        """Whether the first delivery is done, well or not, in this time."""
        return self._tried.wait(seconds)

    def close(self, seconds: float) -> bool:
        """Deliver once more and finish; whether both went well in this time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        return self._ended.wait(seconds) and self.error is None

    def abandon(self) -> None:
        """Deliver nothing more, and do not finish."""
        with self._changed:
            self._abandoned = self._closing = True
            self._changed.notify()

    def _work(self) -> None:
        try:
            pause, last = 0.0, False
            while not last:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, pause)
                    self._changed.wait_for(lambda: self._closing or self._due)
                    self._due, last = False, self._closing
                if self._abandoned:
                    return
                pause = self._try(last, pause)
                self._tried.set()
        except BaseException as error:  # a mistake in the program; Python shows where
            self.error = LockstepError(f"{type(error).__name__}")
            raise
        finally:
            self._tried.set()
            self._ended.set()

    def _try(self, last: bool, pause: float) -> float:
        """Gives the pause after it."""
        try:
            self._deliver()
            if last:
                self._finish()
        except LockstepError as error:
            first, self.error = self.error is None, error
            if first and not last:
                self._fails(error)
            self._due = True
            return min(max(2 * pause, _PAUSE), _LONGEST_PAUSE)
        self.error = None
        return 0.0
