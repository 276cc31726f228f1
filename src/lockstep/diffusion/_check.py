"""The one sentence with which this library refuses a name it does not know."""

from collections.abc import Iterable


def one_of(field: str, value: object, choices: Iterable[str]) -> None:
    """Raise ValueError, naming the field, the value and the fix, unless value is a choice."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{field}: {value!r} is not known; use one of {', '.join(choices)}")
