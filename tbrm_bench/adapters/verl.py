r"""verl: the function that its reward managers call, once per response (https://github.com/volcengine/verl).

    reward.custom_reward_function.path=pkg://tbrm_bench.adapters.verl
    reward.custom_reward_function.name=compute_score

    compute_score("math", "so \\boxed{0.5}", "1/2")     1.0

Its options are keys of `reward_kwargs`. verl has no reward for "could not be judged": such a response gets 0, is
logged, and `compute_score_and_verdict` counts it apart.
"""

from collections.abc import Mapping
from typing import Any

from tbrm_bench.adapters.answers import Marking, score_of
from tbrm_bench.records import Grade, GradingPolicy


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    strict_boxed: bool = True,
    policy: GradingPolicy | Mapping[str, bool] | None = None,
    gold_rule: str = "latex",
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
) -> float:
    """Return 1 for a correct response, 0 for any other; raises UserError for a ground truth that cannot be read.

    `data_source`, `extra_info` and the last two are verl's own and are not looked at.
    """
    return score_of(_grade(solution_str, ground_truth, Marking(strict_boxed, policy, gold_rule))) or 0.0


def compute_score_and_verdict(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    strict_boxed: bool = True,
    policy: GradingPolicy | Mapping[str, bool] | None = None,
    gold_rule: str = "latex",
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
) -> dict[str, Any]:
    """Return the score with what verl logs beside it: `acc`, `pred` (for its maj@k) and the rate of `grader_error`."""
    grade = _grade(solution_str, ground_truth, Marking(strict_boxed, policy, gold_rule))
    score = score_of(grade)
    return {
        "score": score or 0.0,
        "acc": score or 0.0,
        "pred": grade.extracted or "",
        "grader_error": float(score is None),
    }


def _grade(text: str, ground_truth: Any, marking: Marking) -> Grade:
    (grade,) = marking.grades([(text, ground_truth)])
    return grade
