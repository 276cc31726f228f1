"""A table of addresses as a workload: read, downloaded from a server on loopback, merged."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from collecting import AGENT
from lockstep.config.load import load_params
from lockstep.config.schema import Params
from lockstep.config.sources import AddressedCaptions, Addresses
from lockstep.core import hashing, paths, tables
from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_folder, csv_rows
from lockstep.core.provenance import read_provenance, write_provenance
from lockstep.data import captions, shards
from lockstep.sources import address_table, image_folder, source
from lockstep.sources.captions import addressed
from lockstep.sources.cards import card
from lockstep.sources.crawlers import check_crawl, crawler_of
from lockstep.sources.downloaders import downloader_of
from lockstep.sources.listing import IMAGES, read_lines, read_list
from lockstep.sources.registry import source_of
from lockstep.sources.web.session import Loopback, session
from lockstep.synthetic.board.server import serve
from lockstep.synthetic.board.site import Answer
from odd_files import encoded, head
from tiny import ROOT

GIVEN = ["https://a.example/1.png", "http://b.example/ü.jpg?x=1,2", "https://a.example/3"]
TABLES = (*tables.ENDINGS, tables.TEXT)
RULES = {"size": 32, "min_side": 32, "max_aspect": 2.0, "min_contrast": 4.0, "duplicate_bits": 24}


def write(path: Path, values: list[Any], column: str = "url") -> Path:
    """A table of these values beside another column, in the form that its ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"caption": f'a "{n}", line\n two', column: value} for n, value in enumerate(values)]
    match path.suffix:
        case ".parquet":
            parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
        case ".csv" | ".tsv" as ending:
            with path.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, ["caption", column], delimiter=",\t"[ending == ".tsv"])
                table.writeheader()
                table.writerows(rows)
        case ".txt":
            path.write_text("".join(f"{value}\n" for value in values), "utf-8")
        case _:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def read(table: Path, column: str = "url") -> list[str]:
    return [row.address for row in address_table.addresses(table, column)]


def values(path: Path) -> list[Any]:
    return [row["url"] for _, row in tables.rows(path, ["url"])]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for module in (image_folder, addressed):
        monkeypatch.setattr(module, "cores", lambda: 1)
    (tmp_path / "exclude.txt").touch()
    return tmp_path


def params_for(table: Path, **crawl: Any) -> Params:
    committed = load_params("anime", ROOT / "params.yaml")
    said = {"table": str(table), "table_sha256": hashing.sha256(table), **crawl}
    return dataclasses.replace(
        committed,
        source=Addresses("addresses", **RULES),
        crawl=dataclasses.replace(committed.crawl, **said),
        download=dataclasses.replace(committed.download, user_agent=AGENT, tries=1),
    )


def crawled(params: Params) -> list[dict[str, Any]]:
    crawler = crawler_of(params)
    assert crawler is not None
    with atomic_folder(paths.crawled(params.workload)) as out:
        crawler.crawl(params, out)
    return list(read_list(paths.crawled(params.workload) / IMAGES))


@pytest.mark.parametrize("ending", TABLES)
def test_every_form_is_read(ending: str, tmp_path: Path) -> None:
    assert read(write(tmp_path / f"t{ending}", GIVEN)) == GIVEN


@given(
    given=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])), min_size=1)
)
def test_all_forms_say_the_same(tmp_path_factory: pytest.TempPathFactory, given: list[str]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    for ending in tables.ENDINGS:
        assert values(write(folder / f"t{ending}", given)) == given


def test_a_folder_is_its_tables_in_order(tmp_path: Path) -> None:
    write(tmp_path / "t" / "b.parquet", GIVEN[1:])
    write(tmp_path / "t" / "a.csv", GIVEN[:1])
    for name in ("stats.json", "README.txt", "._a.csv"):
        (tmp_path / "t" / name).write_bytes(b"\xff")
    assert read(tmp_path / "t") == GIVEN


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("t.csv", b"a,b\n1,2\n", r"no column 'url' \(it has 'a', 'b'\); see crawl.column"),
        ("t.csv", b"", r"no column 'url' \(it has none\)"),
        ("t.csv", b"url\n\xff\n", "not in UTF-8; save it as that"),
        ("t.csv", b"url\n" + b"x" * 17_000_000, r"damaged \(field larger than field limit"),
        (
            "t.jsonl",
            b'{"url": 1}\n{"url": }\n',
            r"damaged \(t.jsonl:2: Expecting value\); wri",
        ),
        ("t.jsonl", b'{"url": 1}\n[2]\n', r"damaged \(t.jsonl:2 is no object\); write it anew"),
        ("t.jsonl", b"{", r"damaged \("),
        ("t.jsonl", b"[" * 100_000, r"damaged \("),
        ("t.parquet", b"", r"damaged \(.*0 bytes\); write it anew"),
        ("t.parquet", b"PAR1 and so on", r"damaged \("),
        ("t.xlsx", b"", r"no table of addresses \(.parquet, .csv"),
    ],
)
def test_what_is_no_table_is_one_line(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(LockstepError, match=rf"{name}: {said}") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_long_value_in_another_column_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"page,url\n{'x' * 200_000},{GIVEN[0]}\n")
    assert read(tmp_path / "t.csv") == GIVEN[:1]


def test_values_that_python_cannot_have_are_one_line(tmp_path: Path) -> None:
    far = pyarrow.table({"url": pyarrow.array([2**31 - 1], pyarrow.date32())})
    parquet.write_table(far, tmp_path / "t.parquet")
    with pytest.raises(LockstepError, match=r"t.parquet: damaged \(") as caught:
        read(tmp_path / "t.parquet")
    assert "\n" not in str(caught.value)


@given(cut=st.integers(0, 2000), flipped=st.integers(0, 2000))
def test_a_damaged_parquet_file_is_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flipped: int
) -> None:
    path = write(tmp_path_factory.mktemp("t") / "t.parquet", GIVEN * 20)
    data = bytearray(path.read_bytes()[: -cut or None])
    if data:
        data[flipped % len(data)] ^= 0x5A
    path.write_bytes(data)
    try:
        assert len(read(path)) <= 60
    except LockstepError as error:
        assert "\n" not in str(error)


def test_each_address_is_listed_once_in_the_order_of_the_table(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long, half = f"https://{'x' * 8000}", "https://a/\ud83d"
    odd = ["", "ftp://a.example/1", "https://a b", None, half, long]
    spaced = [f" {address}\n" for address in GIVEN]
    table = write(here / "t.jsonl", [*GIVEN[::-1], *odd, *spaced, "HTTPS://A.example"])
    params = params_for(table)
    assert [entry["address"] for entry in crawled(params)] == [*GIVEN[::-1], "https://A.example"]
    assert f"{table}: 6 of 13 rows have no address, first t.jsonl:4" in capsys.readouterr().err
    made = read_provenance(paths.crawled("anime")).params
    digest = hashing.sha256(table)
    assert made == {
        **{"crawl.table": "t.jsonl", "crawl.table_sha256": digest},
        **{"crawl.column": "url", "crawl.text_column": None},
    }


def test_a_table_without_an_address_is_one_line(here: Path) -> None:
    table = write(here / "t.csv", ["a.png", "b.png"])
    with pytest.raises(LockstepError, match=r"t.csv: all of 2 rows have no address; see crawl"):
        crawled(params_for(table))


def test_another_table_than_params_yaml_says_is_one_line(here: Path) -> None:
    params = params_for(write(here / "t.csv", GIVEN))
    write(here / "t.csv", GIVEN[:1])
    with pytest.raises(LockstepError, match=r"run `lockstep add anime.crawl.table .*t.csv`"):
        crawled(params)
    # A table that is elsewhere does not stop the other workloads.
    (here / "t.csv").unlink()
    check_crawl(params)
    with pytest.raises(LockstepError, match=r"t.csv: no such file or folder"):
        crawled(params)


class Web:
    """What the addresses have; counts who is asked for what."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.gone = {"/4.png"}

    def answer(self, host: str, target: str, cookies: dict[str, str]) -> Answer:
        self.asked[f"{host}{target}"] += 1
        number = target.strip("/").partition(".")[0]
        if not number.isdigit() or target in self.gone:
            return Answer(404)
        return Answer(200, encoded(head(int(number) % 7), "PNG"), {"Content-Type": "image/png"})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """All addresses lead to a server on this machine."""
    web = Web()
    with serve(web.answer) as found:

        @contextmanager
        def opened(
            origin: dict[str, Any], user_agent: str, connections: int = 10
        ) -> Iterator[source.Source]:
            assert origin == address_table.ORIGIN
            way = session(Loopback(found.port, connections), user_agent)
            yield source.Source("addresses", way, is_replica=True)

        monkeypatch.setattr(source, "opened", opened)
        yield web


def collected(params: Params) -> str:
    """As the stages do it, from the table to the card."""
    crawled(params)
    downloader = downloader_of(params)
    assert downloader is not None
    with atomic_folder(paths.downloaded(params.workload)) as out:
        downloader.fetch(params, paths.crawled(params.workload), out)
    with atomic_folder(paths.collected(params.workload)) as out:
        module = source_of(params)
        found = module.collect(params, out)
        write_provenance(out, found.params)
        card.write(params, out, found, module.read(out))
    return paths.card(params.workload).read_text("utf-8")


def test_from_a_table_to_a_set(here: Path, served: Web) -> None:
    addresses = [f"https://h{n % 2}.example/{n}.png" for n in range(9)]
    table = write(here / "shop.parquet", addresses)
    params = params_for(table)
    text = collected(params)
    # Of 0 to 8 the fourth is gone; 7 and 8 show what 0 and 1 do.
    rows = list(csv_rows(paths.collected("anime") / "decisions.csv"))
    assert Counter(row["decision"] for row in rows) == {"kept": 6}
    assert len(source_of(params).read(paths.collected("anime")).images) == 6
    assert len(list(read_lines(paths.downloaded("anime") / "manifest.jsonl"))) == 8
    failed = (paths.downloaded("anime") / "failed.txt").read_text()
    assert failed == "https://h0.example/4.png\tHTTP 404\n"
    assert "Downloaded from the addresses in the column url of a table, shop.parquet" in text
    assert "Of 9 addresses of images that were asked for" in text
    assert "the address of the image, or the SHA-256 of its file" in text
    assert "what robots.txt or X-Robots-Tag keeps out was not taken" in text

    # Again: nothing is asked for twice. An address that is excluded takes its copies with it.
    before = served.asked.copy()
    (here / "exclude.txt").write_text("https://h0.example/0.png\n")
    collected(params)
    again = served.asked - before
    assert not any(target.endswith(".png") for target in again)
    rows = list(csv_rows(paths.collected("anime") / "decisions.csv"))
    assert Counter(row["decision"] for row in rows) == {"kept": 5, "excluded": 1}
    kept = next(row for row in rows if row["decision"] == "kept")
    (here / "exclude.txt").write_text(f"{kept['source']}:{kept['path']}\n")
    collected(params)
    rows = list(csv_rows(paths.collected("anime") / "decisions.csv"))
    assert Counter(row["decision"] for row in rows) == {"kept": 5, "excluded": 1}


def test_files_that_dvc_has_linked_are_read(here: Path, served: Web) -> None:
    params = params_for(write(here / "t.txt", [f"https://a.example/{n}.png" for n in range(3)]))
    collected(params)
    for path in sorted((paths.downloaded("anime") / "images").iterdir()):
        path.replace(here / path.name)
        path.symlink_to(here / path.name)
    out = here / "again"
    out.mkdir()
    assert source_of(params).collect(params, out).metrics["kept"] == 3
    assert len([*shards.images(source_of(params).read(out).images)]) == 3


def captioned(table: Path) -> Params:
    """The same with the sentences of the column `caption`."""
    params = params_for(table, text_column="caption")
    source = AddressedCaptions("addresses", size=32)
    return dataclasses.replace(params, source=source, condition="prompts")


def test_sentences_come_along(here: Path, served: Web, capsys: pytest.CaptureFixture[str]) -> None:
    # 0 and 7 are the same bytes; 4 is gone.
    addresses = [f"https://a.example/{n}.png" for n in (0, 1, 2, 4, 7, 1)]
    table = write(here / "shop.jsonl", [*addresses, "", None])
    with table.open("a") as file:
        for sentence in ("", None, "\ud83d"):
            file.write(json.dumps({"caption": sentence, "url": addresses[0]}) + "\n")
    text = collected(captioned(table))
    said = capsys.readouterr().err
    assert "5 of 11 rows have no address or no sentence, first shop.jsonl:7" in said
    folder = paths.collected("anime")
    train = captions.read_train(folder / captions.TRAIN)
    assert sorted(train.values()) == [
        ['a "0", line two', 'a "4", line two'],
        ['a "1", line two'],
        ['a "2", line two'],
    ]
    found = source_of(captioned(table)).read(folder)
    assert len(found.images) == 4 and len([*shards.images(found.images)]) == 4
    asked = captions.read_test(folder / captions.TEST)
    assert sorted(asked.values()) == sorted(one for each in train.values() for one in each)
    assert "They have 4 sentences" in text and "of a table, shop.jsonl" in text
    assert "3: equal files are one image, and those named in `exclude.txt` are out." in text
    assert "the image, and files of the same bytes, leave this set" in text
    assert "with the sentences in the column caption" in text
    assert "the address of the image, or the SHA-256 of its file" in text

    (here / "exclude.txt").write_text("https://a.example/7.png\nhttps://a.example/no.png\n")
    collected(captioned(table))
    assert len(captions.read_train(folder / captions.TRAIN)) == 2
    assert "'https://a.example/no.png' matches nothing" in capsys.readouterr().err


def test_a_table_without_the_sentences_is_one_line(here: Path) -> None:
    table = write(here / "t.csv", GIVEN)
    params = dataclasses.replace(captioned(table), crawl=params_for(table, text_column="alt").crawl)
    with pytest.raises(LockstepError, match=r"no column 'alt' \(it has 'caption', 'url'\); see c"):
        crawled(params)
    plain = write(here / "t.txt", GIVEN)
    with pytest.raises(LockstepError, match=r"crawl.text_column: .*t.txt has addresses alone"):
        crawled(captioned(plain))
