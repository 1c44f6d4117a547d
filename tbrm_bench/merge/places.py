"""Where things are kept between commands: `TBENCH_CACHE`, else the user's cache folder.

~/.cache/tbench/expected/<key>.json    names and shapes of a model class
~/.cache/tbench/merged/<key>/          checkpoints that `tbench eval` merged
"""

import os
from pathlib import Path

from tbrm_bench.disk import expanded


def cache_dir() -> Path:
    """Return the folder; it need not exist."""
    if folder := os.environ.get("TBENCH_CACHE"):
        return expanded(folder)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tbench"
