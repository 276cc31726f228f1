"""A stage with its imports behind it: `forked.py STAGE ARGUMENTS SAID`, in a project's root.

Each line on stdin forks one that runs it and writes into the file SAID. Two lines answer: the
process's id at once, and at its end how it ended, as `subprocess` counts.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    script, *arguments, said = sys.argv[1:]
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="imported")
    while sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            with open(os.devnull) as nothing, open(said, "w") as file:  # noqa: PTH123
                os.dup2(nothing.fileno(), 0)
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            break
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    else:
        sys.exit()
    runpy.run_path(script, run_name="__main__")
