"""Anime-like heads drawn by the project, and two archives of them with rubbish among them.

All of it depends on the arguments alone.
"""

from lockstep.synthetic.heads.archives import ARCHIVES, files, write
from lockstep.synthetic.heads.drawing import draw

__all__ = ["ARCHIVES", "draw", "files", "write"]
