"""Community evaluation results: `.eval_results/*.yaml` of a model repository, in huggingface_hub's own types.

https://huggingface.co/docs/hub/eval-results. The format has no field for errors, k or the protocol: they go to `notes`,
and `source_url` leads to the samples. Example:

    - dataset: {id: owner/benchmark, task_id: invented, revision: 0123abc}
      value: 48.5
      date: '2026-01-31'
      source: {url: https://huggingface.co/datasets/owner/results, name: tbrm-bench}
      notes: avg@8 48.5 +- 3.0 (SE over 120 problems), ...
"""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tbrm_bench.errors import MissingPrerequisite, UserError
from tbrm_bench.hub.repo import checked_repo_id


@dataclass(frozen=True, slots=True)
class EvalResult:
    """One score. `value` is in percent; `date` is ISO 8601."""

    dataset_id: str
    task_id: str
    dataset_revision: str
    value: float
    date: str
    source_url: str
    source_name: str
    notes: str


def eval_results_yaml(results: Sequence[EvalResult]) -> bytes:
    """Return the content of the file, checked by reading it back.

    Raises UserError for a value that the Hub could not show, MissingPrerequisite if the installed client does not know
    the format.
    """
    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, parse_eval_result_entries
    except ImportError as error:
        raise MissingPrerequisite(
            "this huggingface_hub does not know evaluation results; run: pip install -U huggingface_hub"
        ) from error
    import yaml

    if not results:
        raise UserError("no score to publish: no task of this run comes from a dataset on the Hub")
    for result in results:
        _check(result)
    entries = [
        EvalResultEntry(
            dataset_id=result.dataset_id,
            task_id=result.task_id,
            value=result.value,
            dataset_revision=result.dataset_revision,
            date=result.date,
            source_url=result.source_url,
            source_name=result.source_name,
            notes=result.notes,
        )
        for result in results
    ]
    text: str = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=10_000)
    assert parse_eval_result_entries(yaml.safe_load(text)) == entries, "the file does not read back as it was written"
    return text.encode()


def _check(result: EvalResult) -> None:
    checked_repo_id(result.dataset_id)
    if not math.isfinite(result.value):
        raise UserError(f"the score of {result.task_id} is undefined: finish the run with `tbench eval` first")
    if not 0 <= result.value <= 100:
        raise UserError(f"the score of {result.task_id} is {result.value}, not between 0 and 100")
    if not result.source_url.startswith(("https://", "http://")):
        raise UserError(f"the source {result.source_url!r} is not a URL")
    try:
        datetime.datetime.fromisoformat(result.date)
    except ValueError:
        raise UserError(f"the date {result.date!r} of {result.task_id} is not ISO 8601") from None
