"""Anime-like heads drawn by the project, and two archives of them with rubbish among them.

`draw(seed, number, size)` gives pixels, `write(folder, count, seed, ...)` the archives, and
`files(count, seed)` tells at once what each file in them is. All of it depends on the arguments
alone.
"""

from lockstep.synthetic.heads.archives import ARCHIVES, File, files, write
from lockstep.synthetic.heads.drawing import draw

__all__ = ["ARCHIVES", "File", "draw", "files", "write"]
