"""Files that are there whole or not at all, also where a file system lacks something."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drills import ON_SMALL_DISK, Condition, needs
from lockstep.core import arrays
from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_folder, damage_named, read_json
from lockstep.core.images import write_animation, write_png

BLACK = np.zeros((8, 8, 3), np.uint8)
WRITE = """
import sys
from pathlib import Path
from lockstep.core.files import atomic_folder, write_json
for name in "ab":
    with atomic_folder(Path(sys.argv[1]) / name) as out:
        write_json(out / "record.json", {"name": name})
"""


@pytest.mark.drill(
    "Disk and permissions",
    "the file system cannot sync (shared folders, some mounts)",
    "one warning; the stage ends well",
)
@pytest.mark.parametrize("folders_alone", [True, False])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_syncs_is_said_once(
    number: int, folders_alone: bool, tmp_path: Path
) -> None:
    """In a process whose `fsync` does what such mounts do."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, stat\nreal = os.fsync\ndef fsync(fd):\n"
        f"    if stat.S_ISDIR(os.fstat(fd).st_mode) or not {folders_alone}:\n"
        f"        raise OSError({number}, os.strerror({number}))\n    real(fd)\nos.fsync = fsync\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(out)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if number == errno.EIO:  # a disk that fails
        assert done.returncode == 1
        return
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]
    assert (out / "b/record.json").read_text() == '{\n  "name": "b"\n}\n'
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"warning: {out}/") and os.strerror(number) in line


@pytest.mark.drill("Disk and permissions", "an image cannot be written", "the one before stays")
def test_an_image_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    for path, write in (
        (tmp_path / "a.png", lambda image: write_png(tmp_path / "a.png", image)),
        (tmp_path / "a.gif", lambda image: write_animation(tmp_path / "a.gif", image[None], 1.0)),
    ):
        write(BLACK)
        before = path.read_bytes()
        # Where the writer stops in the middle: there is no room for the rest.
        script = (
            "import resource, sys, numpy as np\nfrom pathlib import Path\n"
            "from lockstep.core.images import write_animation, write_png\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
            "image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)\n"
            "path = Path(sys.argv[1])\n"
            "write_png(path, image) if path.suffix == '.png' else "
            "write_animation(path, image[None], 1.0)\n"
        )
        command = [sys.executable, "-c", script, str(path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert b"File too large" in done.stderr
        assert path.read_bytes() == before
        with Image.open(path) as image:
            image.load()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.png"]


@pytest.mark.drill(
    "Disk and permissions",
    "the disk fills while an array is being filled",
    "one line, no crash",
)
def test_an_array_on_a_full_disk_is_an_error_and_no_crash(tmp_path: Path) -> None:
    """On a file system of 16 KiB, where a page of a mapped file that has no room kills."""
    condition = Condition(small_disk=tmp_path)
    needs(condition)
    script = (
        "import sys\nfrom pathlib import Path\nfrom lockstep.core.arrays import mapped_array\n"
        "mapped_array(Path(sys.argv[1]) / 'a.npy', 'u1', (10**6,))[:] = 1\n"
    )
    done = subprocess.run(
        [*ON_SMALL_DISK, str(tmp_path), sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr


def test_an_array_file_is_numpys(tmp_path: Path) -> None:
    rows = np.arange(600, dtype=np.float16).reshape(20, 30)
    np.save(tmp_path / "numpy.npy", rows)
    arrays.save_array(tmp_path / "saved.npy", rows)
    mapped = arrays.mapped_array(tmp_path / "mapped.npy", np.float16, rows.shape)
    mapped[:] = rows
    del mapped
    expected = (tmp_path / "numpy.npy").read_bytes()
    assert (tmp_path / "saved.npy").read_bytes() == expected
    assert (tmp_path / "mapped.npy").read_bytes() == expected


def test_what_stood_in_a_folder_stays_if_the_new_one_fails(tmp_path: Path) -> None:
    place = tmp_path / "out"
    with atomic_folder(place) as out:
        write_png(out / "a.png", BLACK)
    with pytest.raises(ZeroDivisionError), atomic_folder(place):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "a.png"]


@pytest.mark.drill(
    "Damage",
    "a JSON record is cut, of another kind, or nested 100,000 deep",
    "one line names it",
)
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "null", "{", "5"])
def test_what_is_no_record_is_damage(tmp_path: Path, text: str) -> None:
    """Nested a hundred thousand deep, too."""
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(LockstepError, match=r"record.json: damaged \(.*\); `dvc checkout` "):
        read_json(path)
    refused = pytest.raises(LockstepError, match=r"record.json: damaged \(.*\); `dvc checkout` ")
    with refused, damage_named(path):
        json.loads(text)["key"]


@pytest.mark.drill(
    "Killed at any moment",
    "SIGKILL while an old output is being removed",
    "the new one is there whole; the rest goes in the next run",
)
def test_a_folder_is_replaced_at_once(tmp_path: Path) -> None:
    """Killed while the one before is removed: the new one is there whole, and the rest goes."""
    out = tmp_path / "out"
    program = f"""
import os, shutil, signal
from pathlib import Path
from lockstep.core.files import atomic_folder
shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with atomic_folder(Path({str(out)!r})) as folder:
    (folder / "new").touch()
"""
    out.mkdir()
    (out / "old").touch()
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in out.iterdir()] == ["new"]
    with atomic_folder(out) as folder:
        (folder / "newer").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "newer"]
