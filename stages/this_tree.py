"""Makes a stage import the `src` of the tree it runs in, also in DVC's copies of the project.

An editable install points to the main checkout, whose code may have been edited since an
experiment was queued; what runs must be the code that DVC hashed.
"""

import sys
from pathlib import Path

_SRC = Path(__file__).resolve().parent.parent / "src"
sys.path.insert(0, str(_SRC))

import lockstep  # noqa: E402

if not Path(lockstep.__file__).is_relative_to(_SRC):
    sys.exit(f"error: lockstep was imported from {lockstep.__file__}, not from {_SRC}")
