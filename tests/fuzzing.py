"""How valid files become nearly valid ones: what the tests of wrong input have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

from lockstep.core.errors import LockstepError

T = TypeVar("T")


def one_line(error: LockstepError) -> str:
    """The message, which has no more than that."""
    text = str(error)
    assert len(text.splitlines()) == 1 and not {"\x1b", "\0"} & set(text), ascii(text)
    return text


@st.composite
def spliced(draw: st.DrawFn, parts: Sequence[T], odd: Sequence[T], most: int = 4) -> list[T]:
    """Some of the parts gone, repeated or elsewhere, and odd ones among them."""
    found = list(parts)
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(found)))
        length = draw(st.integers(1, 3))
        some = found[at : at + length]
        match draw(st.sampled_from(["insert", "insert", "remove", "repeat", "move"])):
            case "insert":
                found[at:at] = [draw(st.sampled_from(odd))]
            case "remove":
                del found[at : at + length]
            case "repeat":
                found[at:at] = some
            case "move":
                del found[at : at + length]
                to = draw(st.integers(0, len(found)))
                found[to:to] = some
    return found


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, most: int = 4) -> bytes:
    """Bytes changed, numbers large or 0, pieces cut out, doubled or put in, the end cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["byte", "bit", "number", "cut", "double", "put", "end"])):
            case "byte":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "bit":
                data[at : at + 1] = bytes(
                    b ^ 1 << draw(st.integers(0, 7)) for b in data[at : at + 1]
                )
            case "number":
                width = draw(st.sampled_from([2, 4, 8]))
                value = draw(st.sampled_from([0, 1, 0x7F, 0xFF, 0x80]))
                data[at : at + width] = bytes([value]) * width
            case "cut":
                del data[at : at + draw(st.integers(1, 16))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
            case "put":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "end":
                del data[at:]
    return bytes(data)
