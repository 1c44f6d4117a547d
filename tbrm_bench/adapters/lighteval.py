r"""lighteval: a metric for generative tasks (https://github.com/huggingface/lighteval).

    LightevalTaskConfig(..., metrics=[tbrm_metric()])

The golds of a Doc are alternatives, as for lighteval's own metrics. Several completions of one document give the mean
of theirs, avg@k. A completion that the grader could not judge makes the score NaN: undefined, not wrong.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lighteval.metrics.metrics_sample import SampleLevelComputation
from lighteval.metrics.utils.metric_utils import SampleLevelMetric
from lighteval.tasks.requests import Doc, SamplingMethod

from tbrm_bench.adapters.answers import Marking, gold_from, score_of
from tbrm_bench.records import GradingPolicy


class CorrectAnswers(SampleLevelComputation):  # type: ignore[misc]
    """The share of a document's completions that are correct."""

    def __init__(self, marking: Marking) -> None:
        """Keep how completions are marked."""
        self.marking = marking

    def compute(self, doc: Doc, model_response: Any, **kwargs: Any) -> float:
        """Return the share, in [0, 1]; NaN where one of them could not be judged."""
        first, *others = doc.get_golds()
        gold = gold_from(first, self.marking.gold_rule, alternatives=others)
        scores = [score_of(grade) for grade in self.marking.grades((text, gold) for text in model_response.final_text)]
        return mean([math.nan if score is None else score for score in scores])


def mean(scores: Sequence[float]) -> float:
    """Return the mean; NaN of none."""
    return sum(scores) / len(scores) if scores else math.nan


def tbrm_metric(
    *,
    strict_boxed: bool = False,
    policy: GradingPolicy | Mapping[str, bool] | None = None,
    gold_rule: str = "latex",
    name: str = "tbrm",
) -> SampleLevelMetric:
    """Return the metric."""
    return SampleLevelMetric(
        metric_name=name,
        higher_is_better=True,
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=CorrectAnswers(Marking(strict_boxed, policy, gold_rule)),
        corpus_level_fn=mean,
    )
