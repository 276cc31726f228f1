"""A stage with its imports behind it: `forked.py STAGE ARGUMENTS SAID`, in a project's root.

A line on stdin forks one that runs it and writes into the file SAID; its process's id is the
answer. The next line asks how it ended, as `subprocess` counts, and waits until it has.
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
        sys.stdin.readline()  # until then its id is no other's, also when it has ended
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    else:
        sys.exit()
    runpy.run_path(script, run_name="__main__")
