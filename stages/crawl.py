"""List the images that a source has on the web: those that articles name, or a table."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.files import atomic_folder
from lockstep.core.provenance import write_provenance
from lockstep.sources.crawlers import crawler_of
from lockstep.stage import run


def main(params: Params) -> None:
    crawler = crawler_of(params)
    with atomic_folder(paths.crawled(params.workload)) as out:
        if crawler is None:  # its images are at hand
            write_provenance(out, {})
        else:
            crawler.crawl(params, out)


if __name__ == "__main__":
    run(main)
