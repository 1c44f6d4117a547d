"""Runs as a dataset repository on the Hub, and back: docs/push.md is the contract.

    README.md                               card: score table, protocol, how to reproduce; one config per task
    data/<task>/<run>/00000.parquet         samples with their verdicts, readable by load_dataset(REPO, "<task>")
    runs/<run>/run.json, results.json       as in the run directory
    runs/<run>/problems.parquet             questions, golds, clusters: what re-grading needs
    runs/<run>/manifest.json                what belongs to the run, with hashes

A repository holds any number of runs, so that the checkpoints of one training go to one place, also at the same time.
"""

from tbrm_bench.publish.evals import ModelResults, model_results, propose_results
from tbrm_bench.publish.export import StagedRun, staged_run
from tbrm_bench.publish.pull import Pulled, pull_run
from tbrm_bench.publish.push import Pushed, dry_run, push_run

__all__ = [
    "ModelResults",
    "Pulled",
    "Pushed",
    "StagedRun",
    "dry_run",
    "model_results",
    "propose_results",
    "pull_run",
    "push_run",
    "staged_run",
]
