"""`lockstep links`: what a crawl found, as lists."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from lockstep import cli
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.provenance import write_provenance
from lockstep.sources.ptt import output
from lockstep.sources.ptt.article import Mention
from lockstep.sources.ptt.crawl import Article
from lockstep.sources.ptt.export import read_links, write_flat, write_table
from lockstep.sources.ptt.names import in_taipei
from tiny import ROOT

WRITTEN = {  # by Unix time, the newest first
    1704038399: ["https://imgur.com/AbCdEfG", "http://i.imgur.com/AbCdEfG.JPG?1"],  # 2023-12-31
    1700000000: ["https://a.example/圖.jpg", "https://imgur.com/AbCdEfG"],  # 2023-11-15
    1672502400: ["https://a.example/first.png"],  # 2023-01-01
    1672502399: ["https://a.example/before.png"],  # 2022-12-31
}


def article(time: int, addresses: list[str]) -> Article:
    mentions = tuple(
        Mention(address, ("https://i.imgur.com/AbCdEfG.jpg",), "push 3", "me")
        if "imgur" in address
        else Mention(address, (address,), "body", "you")
        for address in addresses
    )
    return Article(f"M.{time}.A.0AB", "t", "you", in_taipei(time), 0, "https://b/x", (), mentions)


@pytest.fixture
def crawled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A crawl of two years, where the command looks for it."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    folder = paths.crawled("faces")
    folder.mkdir(parents=True)
    output.write(folder, [article(*item) for item in WRITTEN.items()])
    write_provenance(folder, {"crawl.start": "2022-01-01", "crawl.end": "2023-12-31"})
    return folder


def flat(crawled: Path, start: str | None, end: str | None) -> list[str]:
    file = io.StringIO()
    write_flat(read_links(crawled, start, end), file)
    found = json.loads(file.getvalue())
    assert list(found) == ["image_urls"]
    return found["image_urls"]


def test_addresses_are_as_written_in_order_with_repeats(crawled: Path) -> None:
    everything = [address for addresses in WRITTEN.values() for address in addresses]
    assert flat(crawled, None, None) == everything
    assert flat(crawled, "2023-01-01", "20231231") == everything[:-1]
    assert flat(crawled, "0101", "1130") == everything[2:5]
    assert flat(crawled, "1231", "1231") == everything[:2] + everything[5:]
    assert flat(crawled, "11-15", None) == everything[:4] + everything[5:]


def test_the_table_says_where_and_by_whom(crawled: Path) -> None:
    file = io.StringIO()
    write_table(read_links(crawled, "1231", "1231"), file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert rows[0] == {
        "time": "2023-12-31T23:59:59+08:00",
        "article": "M.1704038399.A.0AB",
        "place": "push 3",
        "author": "me",
        "written": "https://imgur.com/AbCdEfG",
        "addresses": "https://i.imgur.com/AbCdEfG.jpg",
    }
    assert [row["author"] for row in rows] == ["me", "me", "you"]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("0230", None, "--start: '0230' is no day; write 0131 or 2024-01-31"),
        ("today", None, "--start: 'today' is no day"),
        (None, "２０２４０１０１", "--end: .* is no day"),
        ("1201", "0131", "--end: 0131 is before 1201"),
        ("20230101", "1231", "give both with a year, or both without"),
        ("0601", "0630", "no link to an image on these days; the crawl has 2022-01-01 to 2023"),
    ],
)
def test_days_that_cannot_be_are_one_line(
    start: str | None, end: str | None, message: str, crawled: Path
) -> None:
    with pytest.raises(LockstepError, match=message) as caught:
        flat(crawled, start, end)
    assert "\n" not in str(caught.value)


def test_the_command_writes_to_the_terminal_or_a_file(
    crawled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["lockstep", "links", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    days = ("--start", "0101", "--end", "1231", "--format", "flat")
    status, out, _ = run("faces", *days)
    assert not status and json.loads(out)["image_urls"] == flat(crawled, None, None)
    name = "image_2024_0101_1231.json"
    assert run("faces", *days, "--out", name)[:2] in ((0, f"{name}\n"), (None, f"{name}\n"))
    assert Path(name).read_text("utf-8") == out
    status, out, err = run("faces", "--start", "0601", "--end", "0601", "--out", "none.json")
    assert status == 1 and out == "" and "no link to an image" in err
    assert not Path("none.json").exists()
    status, _, err = run("anime")
    assert status == 1 and "anime: its source is no web board" in err
    shutil.rmtree(crawled)
    status, _, err = run("faces")
    assert status == 1 and "missing; `dvc repro` makes it" in err
