"""The files of a run directory, each under its one name. Whether results.json is current: `tbrm_bench.run.results`.

runs/mine/run.json             what decides a score
          samples.sqlite       beside it, while a writer is at work or after it was killed: -wal, -shm, -journal
          writer.lock          who writes
          results.json         the scores
          disagreements.jsonl  where a second grader judges otherwise
"""

from pathlib import Path

from tbrm_bench.disk import shown
from tbrm_bench.errors import UserError

RUN_JSON, DATABASE, WRITER_LOCK = "run.json", "samples.sqlite", "writer.lock"
RESULTS, DISAGREEMENTS = "results.json", "disagreements.jsonl"
# What a start may leave before run.json is there, drafts and logs included.
OF_A_START = (RUN_JSON, WRITER_LOCK, DATABASE)
LOGS = ("-wal", "-journal")


def is_run(run_dir: Path) -> bool:
    """Whether a run was started in the folder."""
    return (run_dir / RUN_JSON).is_file()


def has_samples(run_dir: Path) -> bool:
    """Whether the folder has a database of samples, which may be empty."""
    return (run_dir / DATABASE).is_file()


def has_results(run_dir: Path) -> bool:
    """Whether the folder has a results.json, current or not; a pipe or a folder of that name is none."""
    return (run_dir / RESULTS).is_file()


def has_log(database: Path) -> bool:
    """Whether a log with content lies beside the database: samples may be in it. An empty one says nothing."""
    logs = (database.with_name(database.name + end) for end in LOGS)
    return any(log.exists() and log.stat().st_size for log in logs)


def refuse_other_files(run_dir: Path) -> None:
    """Raise UserError for a folder that is not a run's; what a killed start has left behind is ours."""
    others = [entry.name for entry in run_dir.iterdir() if not entry.name.lstrip(".").startswith(OF_A_START)]
    if others:
        where = f"{shown(run_dir)} holds other files ({min(others)}) and no {RUN_JSON}"
        raise UserError(f"{where}; give an empty folder to --out")
