"""Which of several processes this one is, as torchrun's environment says; no torch."""

from __future__ import annotations

import os


def launched() -> bool:
    """Whether this process is one of several that torchrun or `distributed.launch` started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def rank() -> int:
    """The number of this process among all; 0 is the one that writes."""
    return int(os.environ["RANK"]) if launched() else 0


def size() -> int:
    """How many processes work together."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def size_here() -> int:
    """How many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched() else 1


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def node() -> int:
    """The number of this machine among those that share the job."""
    return int(os.environ.get("GROUP_RANK", "0")) if launched() else 0


def is_first_here() -> bool:
    """Whether this process does for its machine what one is enough for: it reads and speaks."""
    return not launched() or int(os.environ.get("LOCAL_RANK", rank())) == 0
