"""Two years of a board that nobody wrote on, and what people say there."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from lockstep.synthetic.board import hosting
from lockstep.synthetic.board.hosting import Hosted

FIRST_SECOND = 1640966400
"""2022-01-01 00:00 in Taipei, in Unix time; the board goes to the end of 2023."""
END_SECOND = 1704038400
IMAGES_AN_ARTICLE = 2.5

Kind = Literal["article", "reply", "announcement", "forwarded", "deleted"]

_KINDS: dict[Kind, float] = {
    "article": 88,
    "reply": 4,
    "announcement": 2,
    "forwarded": 1,
    "deleted": 5,
}
_YEARS_TURN = 1672502400  # 2023-01-01 00:00 in Taipei
_IN_PUSH_SHARE = 0.1
_AGAIN_SHARE = 0.04
_TOPICS = ("正妹", "神人", "帥哥", "問卦", "肖像")
_PLACES = ("河堤", "夜市", "圖書館", "月台", "陽台", "山腳下", "畫室", "海邊的長椅", "巷口的咖啡店")
_TIMES = ("清晨", "午後", "下雨天", "週末", "打烊以前", "放學的時候", "冬天的早上")
_THINGS = ("戴草帽的人", "圍巾很長的人", "等公車的人", "笑得很淡的人", "短髮的人", "抱著書的人")
_REMARKS = [
    "光線剛剛好",
    "顏色讓人想起舊明信片",
    "這張的背景比較乾淨",
    "畫得很快，請見諒",
    "眼睛的位置改了三次",
    "下次想試別的髮型",
    "底色是自己調的",
    "第一張最滿意",
]
_REPLIES = [
    "眉毛畫得真好",
    "喜歡這個顏色",
    "第二張比較自然",
    "這個角度好看",
    "光影很舒服",
    "推一個",
    "背景在哪裡呀",
    "請問用什麼筆",
    "再來一張吧",
    "耳環是亮點",
]
_TAGS = ("推", "推", "推", "噓", "→")
_SYLLABLES = ("ka", "ri", "mo", "ten", "lu", "shi", "bo", "na", "wei", "fu", "chi", "pa")
_NICKNAMES = ("路過的人", "慢慢畫", "小板凳", "今天也下雨", "鉛筆")


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
    """A row of the index and, unless it is deleted, the article behind it."""

    id: str  # M.<unix seconds>.A.<hex>
    time: int
    kind: Kind
    title: str
    user: str
    nickname: str
    score: int  # pushes less boos; the page has fewer lines where there are very many
    lines: tuple[str, ...]
    links: tuple[str, ...]  # of the body, as written
    pushes: tuple[Push, ...]
    email: str | None  # in the text; the front hides it
    unsaid: frozenset[str]  # tags of the missing meta lines: 作者, 看板, 標題, 時間
    is_long: bool  # whether the middle of the page is left out


def posts(count: int, seed: int, images: list[Hosted]) -> list[Post]:
    """`count` posts, oldest first; each of the images is named by at least one of them."""
    times = _times(count, seed)
    kinds = [
        Random(f"{seed} kind {i}").choices(list(_KINDS), list(_KINDS.values()))[0]
        for i in range(count)
    ]
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
        _post(Random(f"{seed} post {i}"), time, kind, in_body.get(i, []), in_push.get(i, []))
        for i, (time, kind) in enumerate(zip(times, kinds, strict=True))
    ]


def _times(count: int, seed: int) -> list[int]:
    """All different, in order; some on either side of midnight at the turn of the year."""
    random = Random(f"{seed} times")
    turn = (_YEARS_TURN - 1, _YEARS_TURN, FIRST_SECOND, END_SECOND - 1)
    chosen = set(turn[: max(count - 1, 0)])
    while len(chosen) < count:
        chosen.add(random.randrange(FIRST_SECOND, END_SECOND))
    return sorted(chosen)


def _post(random: Random, time: int, kind: Kind, in_body: list[str], in_push: list[str]) -> Post:
    title = _announcement(random) if kind == "announcement" else _title(random)
    if kind == "forwarded":
        title = f"Fw: {_announcement(random)}"
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
        user=_user(random),
        nickname=random.choice(_NICKNAMES),
        score=score,
        lines=tuple(random.choice(_REMARKS) for _ in range(random.randint(1, 4))),
        links=tuple(links),
        pushes=tuple(_pushes(random, time, min(abs(score), 12) + 60 * is_long, in_push)),
        email=f"{_user(random)}@mail.example" if random.random() < 0.05 else None,
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
        Push(random.choice(_TAGS), _user(random), random.choice(_REPLIES), link, time + 60 * number)
        for number, link in enumerate(texts, start=1)
    ]


def _title(random: Random) -> str:
    topic, time, place, thing = map(random.choice, (_TOPICS, _TIMES, _PLACES, _THINGS))
    return f"[{topic}] {time}{place}{thing}"


def _announcement(random: Random) -> str:
    return f"[公告] 板規第{random.randint(1, 30)}條的修訂說明"


def _user(random: Random) -> str:
    name = "".join(random.choice(_SYLLABLES) for _ in range(random.randint(2, 3)))
    return f"{name}{random.randint(1, 99)}"
