"""Addresses in what people write: which lead to images, and to which."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lockstep.sources.ptt.links import Album, Image, classify, trim
from lockstep.sources.ptt.text import Word, find, find_in, find_in_pushes

TWITTER = "https://pbs.twimg.com/media/aB-3_d"
NAMES = st.from_regex(r"[A-Za-z0-9]{5}|[A-Za-z0-9]{7}", fullmatch=True)
IMGUR = "https://i.imgur.com/"


def images(text: str) -> list[str]:
    """The addresses of the images that a text names, in order, with repeats."""
    return [link.address for found in find(text) for link in found.links if type(link) is Image]


def albums(text: str) -> list[str]:
    return [link.address for found in find(text) for link in found.links if type(link) is Album]


def pushed(*pushes: tuple[str, str]) -> list[list[str]]:
    """The images of each push, given as (author, text); the board makes links of addresses."""
    words = [
        (author, [Word(word, word.startswith("http")) for word in text.split()])
        for author, text in pushes
    ]
    return [
        [link.address for found in each for link in found.links if type(link) is Image]
        for each in find_in_pushes(words)
    ]


@pytest.mark.parametrize(
    ("href", "address"),
    [
        ("https://imgur.com/aB3dE5f", "https://i.imgur.com/aB3dE5f.jpg"),
        ("http://m.imgur.com/aB3dE5f", "https://i.imgur.com/aB3dE5f.jpg"),
        ("https://www.imgur.com/aB3dE5f/", "https://i.imgur.com/aB3dE5f.jpg"),
        ("http://i.imgur.com/aB3dE5f.JPG", "https://i.imgur.com/aB3dE5f.jpg"),
        ("https://i.imgur.com/aB3dE5f.jpg?1", "https://i.imgur.com/aB3dE5f.jpg"),
        ("https://i.imgur.com/aB3dE5f.png#top", "https://i.imgur.com/aB3dE5f.png"),
        ("https://imgur.com/aB3dE5f.gifv", "https://i.imgur.com/aB3dE5f.gif"),
        ("HTTPS://I.IMGUR.COM/aB3dE5f.jpeg", "https://i.imgur.com/aB3dE5f.jpeg"),
        ("https://i.imgur.com/aB3dE5f.jpg)", "https://i.imgur.com/aB3dE5f.jpg"),
        ("https://i.imgur.com/aB3dE5f.jpg]", "https://i.imgur.com/aB3dE5f.jpg"),
        ("https://imgur.com/aB3dE5f).", "https://i.imgur.com/aB3dE5f.jpg"),
        ("https://imgur.com/some-title-aB3dE5f", "https://i.imgur.com/aB3dE5f.jpg"),
        ("https://i.imgur.com/aB3dE5fm.png", "https://i.imgur.com/aB3dE5f.png"),
        ("https://i.imgur.com/aB3dE5f.jpg%29", "https://i.imgur.com/aB3dE5f.jpg"),
        ("http://a.example/x.jpg%29%EF%BC%89.", "http://a.example/x.jpg"),
        (f"{TWITTER}?format=jpg&name=4096x4096", f"{TWITTER}?format=jpg&name=large"),
        (f"{TWITTER}?name=small&format=png", f"{TWITTER}?format=png&name=large"),
        (f"{TWITTER}.jpg:large", f"{TWITTER}?format=jpg&name=large"),
        (f"{TWITTER}.jpg", f"{TWITTER}?format=jpg&name=large"),
        ("http://i.meee.com.tw/q1.jpg?x=1", "https://i.meee.com.tw/q1.jpg"),
        ("http://a.example/A%20b/C.JPG?w=1&h=2#x", "http://a.example/A%20b/C.JPG?w=1&h=2"),
        ("https://a.example/p_(1).webp", "https://a.example/p_(1).webp"),
        ("https://a.example/(p.webp)", "https://a.example/(p.webp)"),
    ],
)
def test_ways_of_writing_a_image(href: str, address: str) -> None:
    # The bracket may belong to a name that is no image's.
    assert classify(href) == (() if address.endswith(")") else (Image(address),))


@pytest.mark.parametrize(
    "href",
    ["https://imgur.com/a/aB3dE", "https://imgur.com/gallery/aB3dE/", "http://m.imgur.com/a/aB3dE"],
)
def test_albums_are_told_from_images(href: str) -> None:
    (found,) = classify(href)
    assert isinstance(found, Album)


@pytest.mark.parametrize(
    "href",
    [
        "https://videos.example/watch?v=x.jpg&t=3",
        "https://i.imgur.com/aB3dE5f.mp4",
        "https://imgur.com/",
        "https://imgur.com/upload",
        "https://imgur.com/aB3dE5fm",
        TWITTER,
        f"{TWITTER}?format=mp4",
        "ftp://a.example/x.jpg",
        "javascript:x.jpg",
        "https://imgur.com/about",
        "https://imgur.com/privacy",
        "https://imgur.com/Gallery/",
        "https://imgur.com/r/pics",
        "https://i.imgur.com/aB3dE5f.html",
        "https://imgur.com/aB3dE5f,shorts",
        "file:///etc/x.jpg",
        "https://me:secret@a.example/x.jpg",
        "https://[broken/x.jpg",
        "https://a.example:port/x.jpg",
        "https://localhost/x.jpg",
        "/x.jpg",
        "",
    ],
)
def test_what_is_no_image(href: str) -> None:
    assert classify(href) == ()
    assert list(find(href)) == []


# What people write, in pieces.
_PIECES = (
    "https:// http:// HTTPS:// // / : imgur.com i.imgur.com m.imgur.com imgur.io a.example "
    "pbs.twimg.com/media/ i.meee.com.tw AbCdEfG AbCdE fG .jpg .JPG .png .gifv .webp .mp4 _d m /a/ "
    "/gallery/ /r/x/ , & ? # = . ( ) ） 」 %29 %2F %3F %23 % 圖 [ ] @ :443 :8080 ::1 ｉ ． é about "
    "format=jpg"
)
PIECES = st.sampled_from([*_PIECES.split(), *" \n\t\x00\u3000\u200b\ud800"])
WRITTEN = st.text(max_size=60) | st.lists(PIECES, max_size=14).map("".join)


@given(WRITTEN, st.sampled_from(["", "https://", "https://i.imgur.com/", "https://a.example/"]))
def test_any_text_may_be_written(text: str, start: str) -> None:
    classify(start + text)
    assert trim(trim(text)) == trim(text)
    for found in find(start + text):
        assert found.links and found.written in start + text
        for link in found.links:
            assert classify(link.address) == (link,)
            assert all(one.links == (link,) for one in find(link.address))
    list(find_in([Word(start + text, True), Word(text, False)]))
    list(find_in_pushes([("a", [Word(start + text, True)]), ("a", [Word(text, False)])] * 3))


@given(WRITTEN, st.sampled_from(["https://", "https://a.example/", "https://imgur.com/"]))
def test_no_address_is_made_up(text: str, start: str) -> None:
    """What comes out stands in the text, or is the documented form of what does."""
    text = start + text
    for found in find(text):
        for link in found.links:
            parts = urlsplit(link.address)
            name = parts.path.rsplit("/", 1)[-1].split(".")[0]
            if parts.hostname in ("i.imgur.com", "imgur.com"):
                assert len(name) in (5, 7) or isinstance(link, Album)
            elif parts.hostname not in ("pbs.twimg.com", "i.meee.com.tw"):
                assert link.address.lower() in text.lower()


@given(NAMES, st.sampled_from([")", "]", "）", ".", ",", "」", ">"]), st.integers(0, 3))
def test_what_is_typed_behind_a_link_does_not_matter(name: str, sign: str, count: int) -> None:
    for address in (f"https://i.imgur.com/{name}.jpg", f"http://a.example/{name}.png"):
        assert classify(address + sign * count) == classify(address)


@given(NAMES, st.sampled_from(["", "m.", "www.", "i."]), st.sampled_from(["", ".jpg", ".JPG"]))
def test_one_image_has_one_address(name: str, sub: str, ending: str) -> None:
    for scheme in ("http", "https"):
        found = classify(f"{scheme}://{sub}imgur.com/{name}{ending}")
        assert found == (Image(f"https://i.imgur.com/{name}.jpg"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Resized previews.
        ("https://i.imgur.com/AbCdEfG_d.jpg", ["AbCdEfG.jpg"]),
        ("https://i.imgur.com/AbCdEfG_d.webp?maxwidth=760&fidelity=grand", ["AbCdEfG.jpg"]),
        ("https://i.imgur.com/AbCdEfG_d.png?x", ["AbCdEfG.png"]),
        ("https://imgur.com/AbCdEfG_d", ["AbCdEfG.jpg"]),
        ("https://i.imgur.com/AbCdEfGl_d.jpg", ["AbCdEfG.jpg"]),
        # Glued together.
        (f"{IMGUR}AbCdEfG.jpg{IMGUR}HIJKLMN.jpg", ["AbCdEfG.jpg", "HIJKLMN.jpg"]),
        (f"{IMGUR}AbCdEfG.jpg{IMGUR}HIJKLMN.png" * 2, ["AbCdEfG.jpg", "HIJKLMN.png"] * 2),
        ("https://imgur.com/AbCdEfGHTTP://imgur.com/HIJKLMN", ["AbCdEfG.jpg", "HIJKLMN.jpg"]),
        (f"{IMGUR}AbCdEfG.jpg，{IMGUR}HIJKLMN.jpg。", ["AbCdEfG.jpg", "HIJKLMN.jpg"]),
        (f"{IMGUR}AbCdEfG.jpg/{IMGUR}HIJKLMN.jpg", ["AbCdEfG.jpg", "HIJKLMN.jpg"]),
        (f"https://{IMGUR}AbCdEfG.jpg", ["AbCdEfG.jpg"]),
        (f"{IMGUR}{IMGUR}AbCdEfG.jpg", ["AbCdEfG.jpg"]),
        (f"https://a.example/page{IMGUR}AbCdEfG.jpg", ["AbCdEfG.jpg"]),
        # Lists, other names of the host, several images.
        ("https://imgur.com/r/x/AbCdEfG", ["AbCdEfG.jpg"]),
        ("https://imgur.com/t/x/AbCdEfG", ["AbCdEfG.jpg"]),
        ("https://m.imgur.com/topic/x/AbCdEfG", ["AbCdEfG.jpg"]),
        ("https://imgur.io/AbCdEfG", ["AbCdEfG.jpg"]),
        ("https://i.imgur.io/AbCdEfG_d.webp", ["AbCdEfG.jpg"]),
        ("https://imgur.com/AbCdEfG,HIJKLMN", ["AbCdEfG.jpg", "HIJKLMN.jpg"]),
        ("https://imgur.com/AbCdEfG,HIJKLMN,", ["AbCdEfG.jpg", "HIJKLMN.jpg"]),
        ("https://imgur.com/AbCdE&HIJKL&OPQRS#1", ["AbCdE.jpg", "HIJKL.jpg", "OPQRS.jpg"]),
        # Too much of something.
        ("https://i.imgur.com//AbCdEfG.jpg", ["AbCdEfG.jpg"]),
        ("https://i.imgur.com/HIJKLMN.jpg.jpg", ["HIJKLMN.jpg"]),
        ("https://i.imgur.com/%41bCdEfG%2Ejpg", ["AbCdEfG.jpg"]),
        ("https://i.imgur.com:443/AbCdEfG.jpg", ["AbCdEfG.jpg"]),
        ("http://i.imgur.com:80/AbCdEfG.jpg", ["AbCdEfG.jpg"]),
        ("HTTP://I.IMGUR.COM/AbCdEfG.PNG", ["AbCdEfG.png"]),
        ("https://i．imgur．com/AbCdEfG.jpg", ["AbCdEfG.jpg"]),
        # Remarks right behind.
        (f"{IMGUR}AbCdEfG.jpg這張好看", ["AbCdEfG.jpg"]),
        (f"{IMGUR}AbCdEfG.jpg%E9%80%99", ["AbCdEfG.jpg"]),
        (f"{IMGUR}AbCdEfG.jpg\u200b", ["AbCdEfG.jpg"]),
        ("https://imgur.com/AbCdEfG（第二張）", ["AbCdEfG.jpg"]),
        (f"（{IMGUR}AbCdEfG.jpg）、「{IMGUR}HIJKLMN.jpg」！", ["AbCdEfG.jpg", "HIJKLMN.jpg"]),
        (f"{IMGUR}AbCdEfG.jpg…*", ["AbCdEfG.jpg"]),
        (f"看：{IMGUR}AbCdEfG.jpg", ["AbCdEfG.jpg"]),
        # Pages of the host's own, and what is no name.
        ("https://imgur.com/about https://imgur.com/privacy", []),
        ("https://imgur.com/terms https://imgur.com/rules?x https://imgur.com/signout/", []),
        ("https://imgur.com/user/AbCdEfG https://imgur.com/upload", []),
        ("https://i.imgur.com/AbCdEf https://i.imgur.com/AbCdEfGh", []),
        ("https://i.imgur.com/AbCdEfG.mp4 https://i.imgur.com/AbCdEfG.html", []),
    ],
)
def test_the_same_image_however_it_is_written(text: str, expected: list[str]) -> None:
    assert images(text) == [IMGUR + name for name in expected]


@pytest.mark.parametrize(
    "address",
    [
        "https://x.example/show.php?f=a.jpg",
        "https://x.example/#a.jpg",
        "https://x.example:8080/a.JPG",
        "https://x.example/thumb?u=https://y.example/a.jpg",
        "https://x.example/2020/https://y.example/a.jpg",
        "https://x.example/圖/一.png",
        "https://i.stack.imgur.com/AbCdE.png",  # another host's names
        "https://imgur.com.example/AbCdE.png",
        "https://imgur.com:8080/AbCdE.png",
    ],
)
def test_what_begins_with_http_and_ends_as_images_do_is_one_as_it_is(address: str) -> None:
    assert images(address) == [address]
    assert images(f"({address})") == [address]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://imgur.com/a/AbCdEfG.jpeg", "https://imgur.com/a/AbCdEfG"),
        ("http://m.imgur.com/gallery/AbCdEfG?x#2", "https://imgur.com/gallery/AbCdEfG"),
        ("https://imgur.com/a/AbCdEfG#HIJKLMN.jpg", "https://imgur.com/a/AbCdEfG"),
        ("https://imgur.com/a/AbCdEfG/layout/grid", "https://imgur.com/a/AbCdEfG"),
        ("https://imgur.com/a/AbCdEfG這本", "https://imgur.com/a/AbCdEfG"),
        ("https://imgur.io/a/AbCdEfG,", "https://imgur.com/a/AbCdEfG"),
        ("https://imgur.com/gallery/圖-AbCdEfG", "https://imgur.com/gallery/圖-AbCdEfG"),
    ],
)
def test_an_album_is_one_however_it_is_written(text: str, expected: str) -> None:
    assert (images(text), albums(text)) == ([], [expected])


def test_a_link_is_an_address_from_its_first_letter_on() -> None:
    address = f"{IMGUR}AbCdEfG.jpg"
    for href in (f"javascript:{address}", f"view-source:{address}", f"ftp://x/{address}"):
        assert list(find_in([Word(href, True)])) == []
    assert len(list(find_in([Word(address, True)]))) == 1


# --- addresses over several pushes


def test_an_address_goes_on_in_its_authors_next_push() -> None:
    whole = [[f"{IMGUR}AbCdEfG.jpg"], []]
    assert pushed(("u1", f"{IMGUR}AbCdE"), ("u1", "fG.jpg")) == whole
    assert pushed(("u1", f"看 {IMGUR}AbCdEfG.j"), ("u1", "pg 好看")) == whole
    assert pushed(("u1", f"{IMGUR}AbCdEfG"), ("u1", ".jpg")) == whole
    assert pushed(("u1", "https://i.img"), ("u1", "ur.com/AbCdEfG.jpg")) == whole
    assert pushed(("u1", "https://i.imgur.com/Ab"), ("u1", "CdE"), ("u1", "fG.jpg")) == [
        [f"{IMGUR}AbCdEfG.jpg"], [], []
    ]  # fmt: skip
    between = pushed(("u1", f"{IMGUR}AbCdE"), ("u2", "推"), ("u1", "fG.jpg"))
    assert between == [[f"{IMGUR}AbCdEfG.jpg"], [], []]
    twitter = pushed(("u1", f"{TWITTER}?format=j"), ("u1", "pg&name=large"))
    assert twitter == [[f"{TWITTER}?format=jpg&name=large"], []]


@pytest.mark.parametrize("piece", ["fG", "XD", "fG 第二張", "fG,HIJKLMN"])
def test_in_doubt_there_is_no_image_rather_than_another_one(piece: str) -> None:
    assert pushed(("u1", f"{IMGUR}AbCdE"), ("u1", piece)) == [[], []]


@pytest.mark.parametrize(
    "following",
    [("u2", "fG.jpg"), ("u1", "推"), ("u1", "好看 fG.jpg"), ("u1", "https://a.example/")],
)
def test_what_another_says_or_no_piece_leaves_an_address_as_it_is(following: tuple) -> None:
    assert pushed(("u1", f"{IMGUR}AbCdEfG"), following)[0] == [f"{IMGUR}AbCdEfG.jpg"]


def test_an_address_with_its_ending_is_whole_and_a_strangers_is_never_joined() -> None:
    assert pushed(("u1", f"{IMGUR}AbCdE.jpg"), ("u1", "fG.jpg")) == [[f"{IMGUR}AbCdE.jpg"], []]
    assert pushed(("u1", "https://a.example/x"), ("u1", "y.jpg")) == [[], []]


@given(st.integers(9, 33), st.sampled_from(["AbCdEfG.jpg", "a1B2c.PNG"]))
def test_wherever_an_address_is_split_no_other_image_comes_out(at: int, name: str) -> None:
    address = IMGUR + name
    assume(at < len(address))
    (first, second) = pushed(("u1", address[:at]), ("u1", address[at:]))
    assert first in ([], images(address)) and second == []


@pytest.mark.parametrize(
    "piece", ["https://x/", "https://x", f"{IMGUR}AbCdEfG.jpg", ".", "%29", ")", "https://a/?u="]
)
def test_the_work_grows_with_the_text_and_no_faster(
    piece: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = [0]

    def counted(address: str) -> str:
        done[0] += len(address)
        return trim(address)

    monkeypatch.setattr("lockstep.sources.ptt.text.trim", counted)
    list(find(piece * 2000))
    once, done[0] = done[0], 0
    list(find(piece * 8000))
    assert done[0] <= 4.5 * once
