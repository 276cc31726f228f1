"""Fetch the images that a crawl found."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.files import atomic_folder
from lockstep.core.provenance import write_provenance
from lockstep.sources.downloaders import downloader_of
from lockstep.stage import run


def main(params: Params) -> None:
    downloader = downloader_of(params)
    with atomic_folder(paths.downloaded(params.workload)) as out:
        if downloader is None:
            write_provenance(out, {})
        else:
            downloader.fetch(params, paths.crawled(params.workload), out)


if __name__ == "__main__":
    run(main)
