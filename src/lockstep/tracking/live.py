"""The run of a training while it goes on: its data, rows and images, and the machine's load.

The training waits for none of it: a thread writes. What has not been written when the training
ends, because the store was away or slow, `lockstep track` writes.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from lockstep.core.errors import LockstepError, Stopped
from lockstep.sampling.preview import Preview
from lockstep.tracking import pending
from lockstep.tracking.outbox import Outbox
from lockstep.tracking.runs import Following, Tracking
from lockstep.tracking.store import AwayError, without_secrets
from lockstep.training.history import Row

# It says when it starts and stops, and when the store fails, which stops no training.
logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)

_SECONDS_BETWEEN_SAMPLES = 10
_ROWS = 10_000
"""As many wait in memory, the newest ones; the others are in the history that is written down."""
_FIRST_WAIT = 5.0
"""Seconds for the store to open: a mistake in its address ends the training before it begins."""
_LAST_WAIT, _STOP_WAIT = 30.0, 5.0
_LATER = "`lockstep track` writes what is missing when it is done"


@contextmanager
def followed(workload: str, fingerprint: str, params: Mapping[str, Any]) -> Iterator[Live]:
    """The run of a training while it goes on.

    Raises
    ------
    LockstepError
        The store's address is wrong, or the workload's experiment deleted. A store that is only
        away is said on stderr.
    """
    live = Live(workload, fingerprint, params)
    live.open()
    try:
        yield live
    except BaseException as error:
        stopped = isinstance(error, Stopped | KeyboardInterrupt | SystemExit)
        live.close("KILLED" if stopped else "FAILED", _STOP_WAIT)
        raise
    live.close("FINISHED", _LAST_WAIT)


class Live:
    """The run of a training that goes on: takes what there is to write, and never waits."""

    def __init__(self, workload: str, fingerprint: str, params: Mapping[str, Any]) -> None:
        self._training = (workload, fingerprint, params)
        self._rows: deque[tuple[int, Row]] = deque(maxlen=_ROWS)
        self._taken: list[tuple[int, Row]] = []
        self._following: Following | None = None
        self._machine: SystemMetricsMonitor | None = None
        self._status = "FINISHED"
        self._is_open = False

    def open(self) -> None:
        """Begin to write. Raises `LockstepError` if the store is none, and says so at once."""
        self._outbox = Outbox(self._deliver, self._finish, self._fails)
        self._outbox.wait_for_first(_FIRST_WAIT)
        self._is_open = True
        if (error := self._outbox.error) is not None and not isinstance(error, AwayError):
            self._outbox.abandon()
            raise error

    def log(self, step: int, values: Row) -> None:
        """A row of the history, unless it stands there already."""
        self._rows.append((step, values))
        self._outbox.wake()

    def show(self, step: int, preview: Preview) -> None:
        """The images of this step, unless they are there."""
        try:
            pending.put(self._training[1], step, preview)
        except OSError as error:
            print(f"the images of step {step} are not in MLflow: {error}", file=sys.stderr)
        self._outbox.wake()

    def close(self, status: str, seconds: float) -> None:
        """The training has ended; what cannot be written in this time is said."""
        self._status = status
        if self._outbox.error is not None:
            seconds = min(seconds, _STOP_WAIT)
        if not self._outbox.close(seconds):
            why = self._outbox.error or "it does not answer;"
            print(f"the run's end is not in MLflow: {why} {_LATER}", file=sys.stderr)

    def _fails(self, error: LockstepError) -> None:
        if self._is_open or isinstance(error, AwayError):  # else the training does not begin
            print(f"{error} The training goes on; {_LATER}", file=sys.stderr)

    def _deliver(self) -> None:
        workload, fingerprint, params = self._training
        if self._following is None:
            self._following = Tracking(workload).follow(fingerprint, params)
            self._watch_machine(self._following)
        while self._rows:
            self._taken.append(self._rows.popleft())
        del self._taken[:-_ROWS]
        self._following.write_rows(self._taken)
        self._taken.clear()
        self._following.write_images()

    def _finish(self) -> None:
        if self._machine is not None:
            self._machine.finish()
        if self._following is not None:
            self._following.end(self._status)
        pending.tidy(self._training[1])

    def _watch_machine(self, following: Following) -> None:
        """The machine's load goes into the run meanwhile; no training ends for want of that."""
        uri = following.tracking.uri
        try:
            self._machine = SystemMetricsMonitor(
                following.run_id, _SECONDS_BETWEEN_SAMPLES, resume_logging=True, tracking_uri=uri
            )
            self._machine.start()
        except Exception as error:
            print(
                f"the machine is not watched: {without_secrets(str(error), uri)}", file=sys.stderr
            )
