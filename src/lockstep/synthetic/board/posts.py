"""Two years of a board that nobody wrote on."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from lockstep.synthetic.board import hosting, words
from lockstep.synthetic.board.hosting import Hosted

FIRST_SECOND = 1640966400
"""2022-01-01 00:00 in Taipei, in Unix time; the board goes to the end of 2023."""
END_SECOND = 1704038400
IMAGES_AN_ARTICLE = 2.5

Kind = Literal["article", "reply", "announcement", "forwarded", "deleted"]

_YEARS_TURN = 1672502400  # 2023-01-01 00:00 in Taipei
_IN_PUSH_SHARE = 0.1
_AGAIN_SHARE = 0.04


@dataclass(frozen=True)
class Push:
    """A line that somebody put under an article, with at most one link."""

    tag: str
    user: str
    text: str
    link: str | None
    time: int


@dataclass(frozen=True)
class Post:
    """A row of the index and, unless it is deleted, the article behind it.

    Parameters
    ----------
    id
        `M.<unix seconds>.A.<hex>`.
    score
        Pushes less boos. The page has fewer lines than that where there are very many.
    links
        What the body links to, as written.
    email
        An address in the text, which the front hides.
    unsaid
        Tags of the meta lines that are missing: 作者, 看板, 標題, 時間.
    is_long
        Whether the page is so long that its middle is left out.
    """

    id: str
    time: int
    kind: Kind
    title: str
    user: str
    nickname: str
    score: int
    lines: tuple[str, ...]
    links: tuple[str, ...]
    pushes: tuple[Push, ...]
    email: str | None
    unsaid: frozenset[str]
    is_long: bool


def posts(count: int, seed: int, images: list[Hosted]) -> list[Post]:
    """`count` posts, oldest first; each of the images is named by at least one of them."""
    times = _times(count, seed)
    kinds = [_kind(Random(f"{seed} kind {i}")) for i in range(count)]
    readable = [i for i in range(count) if kinds[i] in ("article", "reply")] or [0]
    kinds[readable[0]] = "article"
    in_body: dict[int, list[str]] = {}
    in_push: dict[int, list[str]] = {}
    for number, image in enumerate(images):
        random = Random(f"{seed} named {number}")
        for _ in range(2 if random.random() < _AGAIN_SHARE else 1):
            pushed = random.random() < _IN_PUSH_SHARE
            text = hosting.written(image.address, random, pushed)
            place = in_push if pushed else in_body
            place.setdefault(random.choice(readable), []).append(text)
    return [
        _post(
            Random(f"{seed} post {i}"),
            times[i],
            kinds[i],
            in_body.get(i, []),
            in_push.get(i, []),
        )
        for i in range(count)
    ]


def _times(count: int, seed: int) -> list[int]:
    """All different, in order; some on either side of midnight at the turn of the year."""
    random = Random(f"{seed} times")
    turn = [_YEARS_TURN - 1, _YEARS_TURN, FIRST_SECOND, END_SECOND - 1][: max(count - 1, 0)]
    chosen = set(turn)
    while len(chosen) < count:
        chosen.add(random.randrange(FIRST_SECOND, END_SECOND))
    return sorted(chosen)


def _kind(random: Random) -> Kind:
    kinds: dict[Kind, float] = {
        "article": 88,
        "reply": 4,
        "announcement": 2,
        "forwarded": 1,
        "deleted": 5,
    }
    return random.choices(list(kinds), list(kinds.values()))[0]


def _post(random: Random, time: int, kind: Kind, in_body: list[str], in_push: list[str]) -> Post:
    title = words.announcement(random) if kind == "announcement" else words.title(random)
    if kind == "forwarded":
        title = f"Fw: {words.announcement(random)}"
    if kind == "reply":
        title = f"Re: {title}"
    score = _score(random)
    is_long = random.random() < 0.02
    links = list(in_body)
    if random.random() < 0.05:
        links.append(hosting.album(random))
    if random.random() < 0.1:
        links.append(f"https://videos.example/watch?v={random.randrange(10**6)}")
    return Post(
        id=f"M.{time}.A.{random.randrange(16**3):03X}",
        time=time,
        kind=kind,
        title=title,
        user=words.user(random),
        nickname=words.nickname(random),
        score=score,
        lines=tuple(words.remark(random) for _ in range(random.randint(1, 4))),
        links=tuple(links),
        pushes=tuple(_pushes(random, time, min(abs(score), 12) + 60 * is_long, in_push)),
        email=f"{words.user(random)}@mail.example" if random.random() < 0.05 else None,
        unsaid=frozenset(
            random.sample(("作者", "看板", "標題", "時間"), random.randint(1, 4))
            if random.random() < 0.05
            else ()
        ),
        is_long=is_long,
    )


def _score(random: Random) -> int:
    kind = random.random()
    if kind < 0.06:
        return random.randint(100, 400)
    if kind < 0.12:
        return -random.randint(1, 150)
    return random.randint(0, 60)


def _pushes(random: Random, time: int, count: int, links: list[str]) -> list[Push]:
    """`count` of them or as many as there are links, each link in one."""
    texts: list[str | None] = [*links, *[None] * max(0, count - len(links))]
    random.shuffle(texts)
    return [
        Push(
            tag=random.choice(("推", "推", "推", "噓", "→")),
            user=words.user(random),
            text=words.reply(random),
            link=link,
            time=time + 60 * number,
        )
        for number, link in enumerate(texts, start=1)
    ]
