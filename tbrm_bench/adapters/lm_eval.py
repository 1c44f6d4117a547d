r"""lm-eval: a metric for tasks of the kind generate_until (https://github.com/EleutherAI/lm-evaluation-harness).

    from tbrm_bench.adapters.lm_eval import process_results, tbrm     in tbrm.py beside the task's YAML

    metric_list:                        process_results: !function tbrm.process_results
      - metric: !function tbrm.tbrm     metric_list: [{metric: tbrm, aggregation: mean, higher_is_better: true}]

`tbrm` takes the gold from `doc_to_target`; lm-eval takes NaN for true where a document has several golds, so a
completion that the grader could not judge counts 0 there, and is logged. `process_results` takes the gold from the
document and gives NaN: undefined.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tbrm_bench.adapters.answers import GOLD_COLUMNS, Marking, gold_from, score_of
from tbrm_bench.errors import UserError
from tbrm_bench.missing import present
from tbrm_bench.records import GradingPolicy


def tbrm(
    references: Sequence[Any],
    predictions: Sequence[str],
    *,
    strict_boxed: bool = False,
    policy: GradingPolicy | Mapping[str, bool] | None = None,
    gold_rule: str = "latex",
) -> float:
    """Return the share of the predictions that are correct; options are keys of the task's entry in metric_list."""
    grades = Marking(strict_boxed, policy, gold_rule).grades(zip(predictions, references, strict=True))
    return sum(score_of(grade) or 0.0 for grade in grades) / len(grades)


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return {"tbrm": 1, 0 or NaN} for the first completion; the gold is the document's first of GOLD_COLUMNS.

    `alternatives`, if it is a column, holds further golds of which any one is enough.
    """
    name = next((name for name in GOLD_COLUMNS if present(doc.get(name)) is not None), None)
    if name is None:
        raise UserError(
            f"no column {' or '.join(GOLD_COLUMNS)} in the document ({', '.join(doc)}); use the metric tbrm, whose "
            "gold is doc_to_target"
        )
    gold = gold_from(doc[name], alternatives=doc.get("alternatives") or ())
    (grade,) = Marking().grades([(results[0], gold)])
    score = score_of(grade)
    return {"tbrm": math.nan if score is None else score}
