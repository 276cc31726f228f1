"""What people on the replica say."""

from __future__ import annotations

from random import Random

_TOPICS = ("正妹", "神人", "帥哥", "問卦", "肖像")
_PLACES = ("河堤", "夜市", "圖書館", "月台", "陽台", "山腳下", "畫室", "海邊的長椅", "巷口的咖啡店")
_TIMES = ("清晨", "午後", "下雨天", "週末", "打烊以前", "放學的時候", "冬天的早上")
_THINGS = ("戴草帽的人", "圍巾很長的人", "等公車的人", "笑得很淡的人", "短髮的人", "抱著書的人")
_REMARKS = (
    "光線剛剛好",
    "顏色讓人想起舊明信片",
    "這張的背景比較乾淨",
    "畫得很快，請見諒",
    "眼睛的位置改了三次",
    "下次想試別的髮型",
    "底色是自己調的",
    "第一張最滿意",
)
_REPLIES = (
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
)
_SYLLABLES = ("ka", "ri", "mo", "ten", "lu", "shi", "bo", "na", "wei", "fu", "chi", "pa")


def title(random: Random) -> str:
    """The title of an article, its topic in brackets."""
    topic, time, place, thing = map(random.choice, (_TOPICS, _TIMES, _PLACES, _THINGS))
    return f"[{topic}] {time}{place}{thing}"


def announcement(random: Random) -> str:
    """The title of an announcement."""
    return f"[公告] 板規第{random.randint(1, 30)}條的修訂說明"


def remark(random: Random) -> str:
    """A line of an article."""
    return random.choice(_REMARKS)


def reply(random: Random) -> str:
    """A line of somebody else's."""
    return random.choice(_REPLIES)


def user(random: Random) -> str:
    """The name that somebody goes by."""
    name = "".join(random.choice(_SYLLABLES) for _ in range(random.randint(2, 3)))
    return f"{name}{random.randint(1, 99)}"


def nickname(random: Random) -> str:
    """What they call themselves beside it."""
    return random.choice(("路過的人", "慢慢畫", "小板凳", "今天也下雨", "鉛筆"))
