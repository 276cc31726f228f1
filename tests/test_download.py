"""Images fetched and judged: each address ends in an image or in a reason."""

from __future__ import annotations

import dataclasses
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import killed
from collecting import AGENT
from drawings import drawing
from lockstep.core.decoding import NoImage, decode
from lockstep.core.errors import LockstepError
from lockstep.sources.download import download as downloading
from lockstep.sources.download.by_host import by_host
from lockstep.sources.download.decode import check
from lockstep.sources.download.fetch import Fetcher
from lockstep.sources.listing import read_lines, write_list
from lockstep.sources.web import session as web
from lockstep.sources.web.breaker import Hosts, host_of
from lockstep.sources.web.get import Failed, Limits
from lockstep.sources.web.retries import RetryPolicy
from lockstep.sources.web.session import Loopback
from lockstep.synthetic.board import hosting
from lockstep.synthetic.board.server import Served, Trouble, serve
from lockstep.synthetic.board.site import Answer, Site

MOST = 1_000_000
FORMS = ("as drawn", *hosting.FORMS)


def sketch() -> Image.Image:
    """No two corners alike, so that no turn or flip goes unseen."""
    image = np.zeros((48, 80, 3), np.uint8)
    image[:24, :40] = (220, 40, 40)
    image[:24, 40:] = (40, 200, 60)
    image[24:, :40] = (60, 60, 220)
    image[24:, 40:] = (230, 210, 60)
    return Image.fromarray(image)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# --- what the bytes are


@pytest.mark.parametrize("form", FORMS)
def test_each_form_becomes_the_same_image(form: str, tmp_path: Path) -> None:
    data = encoded(sketch())
    if form != "as drawn":
        data, _ = hosting.recoded(data, form)
    (tmp_path / "x").write_bytes(data)
    kind, image = check(tmp_path / "x", MOST), decode(tmp_path / "x", MOST).image
    assert (kind.width, kind.height) == image.size == (80, 48) and image.mode == "RGB"
    expected = sketch().convert("L").convert("RGB") if form == "grey16" else sketch()
    for x in (20, 60):
        for y in (12, 36):
            found, wanted = image.getpixel((x, y)), expected.getpixel((x, y))
            assert np.abs(np.subtract(found, wanted)).max() < 24, (x, y)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_brought_upright(orientation: int, tmp_path: Path) -> None:
    to_stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = sketch()
    if orientation in to_stored:
        stored = stored.transpose(to_stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "x").write_bytes(encoded(stored, exif=exif))
    kind, image = check(tmp_path / "x", MOST), decode(tmp_path / "x", MOST).image
    assert (kind.width, kind.height) == image.size
    assert np.array_equal(np.asarray(image), np.asarray(sketch()))


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    for image in (clear, clear.convert("LA"), clear.quantize(4)):
        (tmp_path / "x").write_bytes(encoded(image))
        assert decode(tmp_path / "x", MOST).image.getpixel((1, 1)) == (255, 255, 255)


def test_16_bits_keep_their_brightness(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16)[None, :].repeat(2, 0) * 257
    (tmp_path / "x").write_bytes(encoded(Image.fromarray(ramp)))
    assert np.array_equal(np.asarray(decode(tmp_path / "x", MOST).image)[0, :, 0], np.arange(256))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"  \n<!DOCTYPE html><p>log in", "an HTML page"),
        (b"<HTML><body>", "an HTML page"),
        (b"no image at all", "no image of a known format"),
        (bytes(1000), "no image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known format"),
        (hosting.bomb(), "more pixels than download.max_pixels"),
        (hosting.bomb(1_001), "more pixels than download.max_pixels"),
        (hosting.bomb(20), "truncated or damaged"),
    ],
)
def test_what_is_no_image_has_a_reason(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    for read in (check, decode):
        with pytest.raises(NoImage, match=f"^{reason}$"):
            read(tmp_path / "x", MOST)


@pytest.mark.parametrize("form", FORMS)
def test_half_a_image_is_none(form: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise))
    if form != "as drawn":
        data, _ = hosting.recoded(data, form)
    # An animation's first frame is all that is wanted of it.
    (tmp_path / "x").write_bytes(data[: len(data) // (8 if form == "animated" else 2)])
    with pytest.raises(NoImage):
        check(tmp_path / "x", MOST)


@settings(max_examples=60)
@given(data=st.binary(max_size=200), form=st.sampled_from(FORMS), place=st.floats(0, 1))
def test_damage_ends_in_a_image_or_a_reason(
    data: bytes, form: str, place: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = FILES[form]
    at = round(place * len(whole))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(whole[:at] + data + whole[at + len(data) :])
    try:
        assert decode(path, MOST).image.mode == "RGB"
    except NoImage as reason:
        assert str(reason)


FILES = {
    form: encoded(sketch()) if form == "as drawn" else hosting.recoded(encoded(sketch()), form)[0]
    for form in FORMS
}


# --- one address


def fetched(port: int, address: str, folder: Path, seconds: float = 5.0) -> bytes:
    sha256, size = tried(web.session(Loopback(port), AGENT), address, folder, seconds)
    assert [file.name for file in folder.iterdir()] == [sha256]
    data = (folder / sha256).read_bytes()
    assert len(data) == size
    return data


def tried(
    session: requests.Session, address: str, folder: Path, seconds: float = 5.0
) -> tuple[str, int]:
    """What comes of up to three tries. Raises `Failed`."""
    hosts = Hosts(RetryPolicy(3, 0.0))
    fetcher = Fetcher(session, folder, Limits(seconds, MOST), hosts, respect_opt_outs=False)
    [(_, result)] = by_host([address], host_of, fetcher.fetch, hosts, workers=2, per_host=2)
    if isinstance(result, Failed):
        raise result
    return result


def always(answer: Answer) -> Callable[[str, str, dict[str, str]], Answer]:
    return lambda host, target, cookies: answer


def test_a_image_that_comes_at_the_third_try(tmp_path: Path) -> None:
    image = drawing(1).data
    troubles = [Trouble(status=429, headers={"Retry-After": "0"}), Trouble(keep=0.5), None]
    with serve(always(Answer(200, image)), lambda *r: troubles[r[2] - 1]) as served:
        assert fetched(served.port, "https://a.example/x.jpg", tmp_path) == image
        assert len(served.log) == 3


@pytest.mark.parametrize(
    ("answer", "trouble", "reason", "requests"),
    [
        (Answer(404), None, "HTTP 404", 1),
        (Answer(403), None, "HTTP 403", 1),
        (Answer(200), None, "empty", 1),
        (Answer(302), None, "HTTP 302", 1),
        (Answer(200, bytes(2 * MOST)), None, f"larger than {MOST} bytes", 1),
        (Answer(302, headers={"Location": "/x.jpg"}), None, "too many redirects", 6),
        (Answer(301, headers={"Location": "//i.imgur.example/removed.png"}), None, "removed", 1),
        (Answer(302, headers={"Location": "file:///etc/hostname"}), None, "neither http", 1),
        (Answer(200, b"x"), Trouble(status=500), "HTTP 500", 3),
        (Answer(200, b"x" * 100), Trouble(keep=0.9), "cut off", 3),
        (Answer(200, b"x"), Trouble(wait=0.6), "too slow", 3),
    ],
)
def test_each_failure_has_its_reason_and_leaves_nothing(
    answer: Answer, trouble: Trouble | None, reason: str, requests: int, tmp_path: Path
) -> None:
    with (
        serve(always(answer), lambda *r: trouble) as served,
        pytest.raises(Failed, match=reason),
    ):
        fetched(served.port, "https://a.example/x.jpg", tmp_path, 0.5)
    assert len(served.log) == requests
    assert list(tmp_path.iterdir()) == []


def test_redirects_share_the_time_of_a_try(tmp_path: Path) -> None:
    around = Answer(302, headers={"Location": "/x.jpg"})
    with (
        serve(always(around), lambda *r: Trouble(wait=0.1)) as served,
        pytest.raises(Failed, match="too slow"),
    ):
        fetched(served.port, "https://a.example/x.jpg", tmp_path, 0.3)


@pytest.mark.parametrize(
    "inner", ["http://127.0.0.2:80/x", "http://169.254.169.254/x", "http://[::1]/x", "//10.0.0.1/x"]
)
def test_a_redirect_to_a_private_address_is_refused(
    inner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    guarded = web.session(web.Adapter(public_only=True), AGENT)
    with serve(always(Answer(302, headers={"Location": inner}))) as served:
        address = f"http://127.0.0.1:{served.port}/"
        with pytest.raises(Failed, match="not a public address"):
            tried(guarded, address, tmp_path)
        assert len(served.log) == 1


# --- many at once


def test_no_more_at_once_than_allowed_and_busy_hosts_are_passed_over() -> None:
    lock, now, most = threading.Lock(), Counter[str](), Counter[str]()
    released = threading.Event()

    def work(task: str) -> str:
        host = task[0]
        with lock:
            for key in (host, "all"):
                now[key] += 1
                most[key] = max(most[key], now[key])
        if host == "a":
            released.wait(5)  # Until a task of another host, later in the row, is done.
        else:
            released.set()
        with lock:
            now.subtract([host, "all"])
        return task.upper()

    tasks = [*(f"a{i}" for i in range(20)), *(f"b{i}" for i in range(20))]
    hosts = Hosts(RetryPolicy(1, 0.0))
    done = dict(by_host(iter(tasks), lambda task: task[0], work, hosts, workers=5, per_host=3))
    assert done == {task: task.upper() for task in tasks}
    assert most["a"] == 3 and most["b"] <= 3 and most["all"] <= 5


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield len(taken)

    hosts = Hosts(RetryPolicy(1, 0.0))
    results = by_host(endless(), str, lambda task: task, hosts, workers=4, per_host=1)
    assert len({next(results)[0] for _ in range(100)}) == 100
    results.close()
    assert len(taken) < 20_000


def test_a_mistake_in_the_work_is_raised() -> None:
    def work(task: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(by_host(range(9), str, work, Hosts(RetryPolicy(1, 0.0)), workers=2, per_host=2))


@pytest.mark.parametrize("header", ["1", None])
def test_a_host_that_says_too_many_is_left_alone_by_all(header: str | None, tmp_path: Path) -> None:
    asked: list[float] = []

    def busy(host: str, target: str, number: int) -> Trouble:
        if host == "b.example" or target == "/robots.txt":
            return Trouble()
        asked.append(time.monotonic())
        if len(asked) > 1:
            return Trouble(wait=0.1)  # Under way when the host says it.
        return Trouble(status=429, headers={"Retry-After": header} if header else {})

    images = listed(
        tmp_path, [f"https://{host}.example/{i}.jpg" for i in range(9) for host in "ab"]
    )
    policy = RetryPolicy(2, 0.0 if header else 1.0)
    with serve(always(Answer(200, drawing(1).data)), busy) as served:
        killed.run_download(served.port, tmp_path, images, policy=policy)
    assert len(asked) == 10
    assert sum(at < asked[0] + 1 for at in asked) <= killed.SETTINGS.per_host
    assert not (tmp_path / "downloaded" / "failed.txt").read_text()


def test_a_host_that_wants_a_long_rest_is_not_asked_again(tmp_path: Path) -> None:
    images = listed(tmp_path, [f"https://a.example/{i}.jpg" for i in range(30)])
    closed = Trouble(status=503, headers={"Retry-After": "4000"})
    with serve(always(Answer(200)), lambda *r: closed) as served:
        with pytest.raises(LockstepError, match=r": 30 of 30 .*a\.example \(HTTP 503\) refused"):
            killed.run_download(served.port, tmp_path, images)
        assert len(served.log) <= killed.SETTINGS.per_host


# --- the whole


@pytest.fixture(scope="module")
def site() -> Site:
    return Site(80, 4, drawing)


def listed(folder: Path, addresses: list[str]) -> Path:
    path = folder / "images.json"
    write_list(path, [{"address": address, "named_by": []} for address in addresses])
    return path


def test_every_address_is_in_one_of_the_files_in_their_order(site: Site, tmp_path: Path) -> None:
    addresses = [image.address for image in site.images]
    with serve(site.answer) as served:
        killed.run_download(served.port, tmp_path, listed(tmp_path, addresses))
    out = tmp_path / "downloaded"
    manifest = list(read_lines(out / "manifest.jsonl"))
    failed = [line.split("\t") for line in (out / "failed.txt").read_text().splitlines()]
    good = {line["address"] for line in manifest}
    assert [line["address"] for line in manifest] == [a for a in addresses if a in good]
    assert [line[0] for line in failed] == [a for a in addresses if a not in good]
    reasons = {
        "missing": "HTTP 404",
        "removed": "removed",
        "page": "an HTML page",
        "empty": "empty",
        "cut": "truncated or damaged",
        "noise": "no image of a known format",
        "loop": "too many redirects",
        "bomb": "more pixels than download.max_pixels",
    }
    assert dict(failed) == {p.address: reasons[p.fault] for p in site.images if p.fault}
    assert {line["file"] for line in manifest} == {
        f"images/{file.name}" for file in (out / "images").iterdir()
    }
    shown: dict[int, set[str]] = {}
    for line in manifest:
        file = out / line["file"]
        assert file.stem == line["sha256"] and file.stat().st_size == line["size"]
        assert decode(file, MOST).image.size == (line["width"], line["height"]) == (48, 32)
        hosted = site.hosted(line["address"])
        assert hosted is not None
        shown.setdefault(hosted.shows, set()).add(line["sha256"])
    assert all(len(hashes) == 1 for hashes in shown.values())  # A duplicate is the same file.
    assert len(shown) == len({line["sha256"] for line in manifest})


def asked(served: Served) -> list[str]:
    """The images that were asked for."""
    return [request.target for request in served.log if request.target != "/robots.txt"]


def flaky(served_again: list[bool]) -> Callable[[str, str, int], Trouble | None]:
    """Half of the images are not to be had until `served_again` has something in it."""

    def trouble(host: str, target: str, number: int) -> Trouble | None:
        bad = target[1:2].isdigit() and sum(target.encode()) % 2 == 0 and not served_again
        return Trouble(status=503) if bad else None

    return trouble


def test_too_many_failures_fail_the_stage_and_are_tried_again_next_time(tmp_path: Path) -> None:
    addresses = [f"https://a.example/{i}.jpg" for i in range(40)]
    images = listed(tmp_path, [*addresses, "https://a.example/none.jpg"])
    strict = dataclasses.replace(killed.SETTINGS, max_failed_fraction=0.1)
    served_again: list[bool] = []

    def answer(host: str, target: str, cookies: dict[str, str]) -> Answer:
        number = target[1:].removesuffix(".jpg")
        return Answer(200, drawing(int(number)).data) if number.isdigit() else Answer(404)

    def run(served: Served) -> None:
        killed.run_download(served.port, tmp_path, images, strict)

    with serve(answer, flaky(served_again)) as served:
        with pytest.raises(
            LockstepError, match=r"max_failed_fraction: 2\d of 41 .*HTTP 503 \("
        ) as e:
            run(served)
        assert "\n" not in str(e.value) and not (tmp_path / "downloaded").exists()
        assert "HTTP 503" in (tmp_path / "scratch" / "failed.txt").read_text()
        served_again.append(True)
        before = len(asked(served))
        delivered = {r.target for r in served.log if r.status == 200}
        run(served)
        later = asked(served)[before:]
        assert not delivered & set(later) and "/none.jpg" not in later
        assert len(later) == 40 - len(delivered)
    lines = (tmp_path / "downloaded" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["address"] for line in lines] == addresses


def test_a_passing_failure_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    addresses = [f"https://a.example/{name}.jpg" for name in ("good", "busy", "none")]
    images = listed(tmp_path, addresses)

    def answer(host: str, target: str, cookies: dict[str, str]) -> Answer:
        return Answer(404) if "none" in target else Answer(200, drawing(1).data)

    def trouble(host: str, target: str, number: int) -> Trouble | None:
        return Trouble(status=503) if "busy" in target and number <= 4 else None

    with serve(answer, trouble) as served:
        lenient = dataclasses.replace(killed.SETTINGS, max_failed_fraction=1.0)
        killed.run_download(served.port, tmp_path, images, lenient)
        assert "busy.jpg\tHTTP 503" in (tmp_path / "downloaded" / "failed.txt").read_text()
        before = len(asked(served))
        killed.run_download(served.port, tmp_path, images, lenient)
        assert asked(served)[before:] == ["/busy.jpg"]
    assert len((tmp_path / "downloaded" / "manifest.jsonl").read_text().splitlines()) == 2


def test_a_mended_fetcher_asks_again_for_what_it_did_not_get(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = listed(tmp_path, ["https://a.example/1.jpg", "https://a.example/none.jpg"])

    def answer(host: str, target: str, cookies: dict[str, str]) -> Answer:
        return Answer(404) if "none" in target else Answer(200, drawing(1).data)

    with serve(answer) as served:
        killed.run_download(served.port, tmp_path, images)
        monkeypatch.setattr(downloading, "digest_of_code", lambda *names: "another")
        killed.run_download(served.port, tmp_path, images)
        assert asked(served)[2:] == ["/none.jpg"]


def test_an_empty_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match="names no image"):
        killed.run_download(1, tmp_path, listed(tmp_path, []))


def test_a_file_lost_from_the_scratch_folder_is_fetched_again(tmp_path: Path) -> None:
    images = listed(tmp_path, ["https://a.example/1.jpg", "https://a.example/2.jpg"])

    def answer(host: str, target: str, cookies: dict[str, str]) -> Answer:
        number = target[1:2]
        return Answer(200, drawing(int(number)).data) if number.isdigit() else Answer(404)

    with serve(answer) as served:
        killed.run_download(served.port, tmp_path, images)
        next((tmp_path / "scratch" / "files").iterdir()).unlink()
        killed.run_download(served.port, tmp_path, images)
        assert len(asked(served)) == 3


def test_another_limit_of_pixels_judges_anew_without_fetching(tmp_path: Path) -> None:
    images = listed(tmp_path, ["https://a.example/1.jpg", "https://a.example/2.jpg"])
    with serve(always(Answer(200, drawing(1).data))) as served:
        killed.run_download(served.port, tmp_path, images)
        small = dataclasses.replace(killed.SETTINGS, max_pixels=9, max_failed_fraction=1.0)
        killed.run_download(served.port, tmp_path, images, small)
        assert len(asked(served)) == 2
    assert (tmp_path / "downloaded" / "failed.txt").read_text().count("max_pixels") == 2
