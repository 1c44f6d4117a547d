"""The run directory: one lock, one SQLite file, one writer. docs/run-directory.md is its contract."""

from tbrm_bench.store.run_file import diff_locks
from tbrm_bench.store.run_store import RunStore

__all__ = ["RunStore", "diff_locks"]
