"""Scores of a run as community evaluation results of a model: a pull request with `.eval_results/<run>.yaml`.

Only tasks whose rows come from a dataset on the Hub can be named there. The format has no field for the error, k or
the protocol: they are in the notes, and the source leads to the pushed samples.
"""

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tbrm_bench.errors import UserError
from tbrm_bench.hub import Backoff, EvalResult, HubRepo, Upload, eval_results_yaml
from tbrm_bench.hub.repo import checked_repo_id
from tbrm_bench.publish.layout import run_name
from tbrm_bench.publish.model_card import CARD, card_section, with_section
from tbrm_bench.records import RunResult, TaskScore
from tbrm_bench.run.results import current_results
from tbrm_bench.store.run_file import RunFile, read_run_file
from tbrm_bench.tasks.spec import HubSource, load_task


@dataclass(frozen=True, slots=True)
class ModelResults:
    """The file for a model's repository, checked; `skipped` names tasks that the Hub has no dataset for.

    `section` is for the model's card: all tasks of the run `name`.
    """

    path: str
    content: bytes = field(repr=False)
    title: str
    skipped: tuple[str, ...]
    name: str
    section: str = field(repr=False)


def model_results(run_dir: Path, model_repo: str, *, source_url: str) -> ModelResults:
    """Return what would be proposed to `model_repo`; asks no network.

    Raises UserError for a run that is not complete or whose results.json is not current, that measured another model on
    the Hub, or none of whose tasks comes from the Hub.
    """
    checked_repo_id(model_repo)
    run = read_run_file(run_dir)
    _, result = current_results(run_dir)
    _check_model(run, model_repo)
    sources = {task.task: source for task in result.tasks if (source := _source(task.task))}
    skipped = tuple(task.task for task in result.tasks if task.task not in sources)
    entries = [
        _entry(task, sources[task.task], run, result, source_url) for task in result.tasks if task.task in sources
    ]
    name = run_name(run_dir)
    return ModelResults(
        f".eval_results/{name}.yaml",
        eval_results_yaml(entries),
        f"Add evaluation results of {name}",
        skipped,
        name,
        card_section(name, run, result, source_url=source_url),
    )


def propose_results(
    results: ModelResults, model_repo: str, *, with_card: bool = False, backoff: Backoff | None = None
) -> str:
    """Open the pull request and return its address; one that is open already is returned instead.

    Raises UserError if the repository does not exist or already holds all of it.
    """
    remote = HubRepo(model_repo, repo_type="model", backoff=backoff)
    head = remote.head()
    if head is None:
        raise UserError(f"{model_repo!r} is not a model on the Hub, or is private: check the name")
    uploads = [Upload(results.path, results.content)]
    if with_card:
        known = (remote.read(head, [CARD]) / CARD).read_bytes() if CARD in head.files else b""
        uploads.append(Upload(CARD, with_section(known, results.name, results.section)))
    uploads = [upload for upload in uploads if not upload.is_same(head.files.get(upload.path))]
    if not uploads:
        raise UserError(f"{model_repo} already holds these results, in {results.path}; nothing to propose")
    if already := remote.open_proposals(results.title):
        return already[0]
    return remote.propose(uploads, message=results.title, description="Scores with their errors, by `tbench push`.")


def _check_model(run: RunFile, model_repo: str) -> None:
    measured, commit = str(run.about.get("model", "")), run.about.get("commit")
    if commit and measured.partition("@")[0] != model_repo:
        raise UserError(f"the run measured {measured}, but --eval-results names {model_repo}; give the one it measured")


def _source(task: str) -> HubSource | None:
    try:
        return load_task(task).hub
    except UserError:
        return None  # a task of the user's own, which this version does not know


def _entry(task: TaskScore, source: HubSource, run: RunFile, result: RunResult, source_url: str) -> EvalResult:
    if math.isnan(task.avg):
        raise UserError(f"{task.task} is not complete, so it has no score; finish the run with `tbench eval` first")
    locked: Mapping[str, object] = run.lock.get("tasks", {}).get(task.task, {})
    k = task.num_samples
    notes = (
        f"avg@{k} {100 * task.avg:.2f} +- {100 * task.se:.2f} (standard error over {task.num_problems} problems), "
        f"pass@{k} {100 * task.pass_at[k]:.2f}, maj@{k} {100 * task.maj:.2f}; protocol {result.about.get('protocol')}, "
        f"temperature {locked.get('temperature')}, top-p {locked.get('top_p')}, {locked.get('max_tokens')} new tokens; "
        f"grader {result.grader}; lock {result.lock_hash[:12]}"
    )
    return EvalResult(
        dataset_id=source.repo,
        task_id=source.config or task.task,
        dataset_revision=source.revision,
        value=round(100 * task.avg, 2),
        date=_date(run),
        source_url=source_url,
        source_name="tbrm-bench",
        notes=notes,
    )


def _date(run: RunFile) -> str:
    created = str(run.about.get("created", ""))
    try:
        return datetime.datetime.fromisoformat(created).date().isoformat()
    except ValueError:
        raise UserError(
            f"run.json says the run was created {created!r}, which is not a date; fix its `about`"
        ) from None
