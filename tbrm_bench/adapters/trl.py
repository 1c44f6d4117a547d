r"""TRL: reward functions for GRPOTrainer, RLOOTrainer and their kin (https://github.com/huggingface/trl).

    GRPOTrainer(..., reward_funcs=tbrm_reward)

    tbrm_reward(completions=["so \\boxed{0.5}", "7"], answer=["1/2", "7"])     [1.0, 0.0]: a reward asks for a box

Completions are texts or messages. Where a row has no gold, or the grader itself failed, the reward is None, which TRL
leaves out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tbrm_bench.adapters.answers import GOLD_COLUMNS, Marking, gold_from, score_of
from tbrm_bench.errors import UserError
from tbrm_bench.missing import present
from tbrm_bench.records import GradingPolicy

ALTERNATIVES = "alternatives"
Rewards = list[float | None]


def reward_function(
    *,
    column: str | None = None,
    strict_boxed: bool = True,
    policy: GradingPolicy | Mapping[str, bool] | None = None,
    gold_rule: str = "latex",
    name: str = "tbrm_reward",
) -> Callable[..., Rewards]:
    """Return a reward function; `column` holds the golds (else the first of GOLD_COLUMNS), `name` is what TRL logs.

    A column `alternatives` holds, for each row, a list of further golds of which any one is enough.
    """
    marking = Marking(strict_boxed, policy, gold_rule)

    def reward(completions: Sequence[Any], log_extra: Callable[..., None] | None = None, **columns: Any) -> Rewards:
        golds = columns[_gold_column(column, columns)]
        others = columns.get(ALTERNATIVES) or [None] * len(golds)
        judged = [index for index, gold in enumerate(golds) if present(gold) is not None]
        pairs = [
            (text_of(completions[index]), gold_from(golds[index], gold_rule, alternatives=others[index] or ()))
            for index in judged
        ]
        grades = dict(zip(judged, marking.grades(pairs), strict=True))
        if log_extra is not None:
            log_extra("verdict", [str(grades[i].status) if i in grades else "no gold" for i in range(len(golds))])
        return [score_of(grades[index]) if index in grades else None for index in range(len(golds))]

    reward.__name__ = reward.__qualname__ = name
    return reward


def text_of(completion: Any) -> str:
    """Return the text of a completion: itself, or what the last message says, its thoughts in other fields left out."""
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else ""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content or ""


def _gold_column(column: str | None, columns: Mapping[str, Any]) -> str:
    wanted = GOLD_COLUMNS if column is None else (column,)
    found = next((name for name in wanted if columns.get(name) is not None), None)
    if found is None:
        raise UserError(
            f"no column {' or '.join(wanted)} among {', '.join(columns) or 'none'}; name the one with the golds: "
            "reward_function(column=...)"
        )
    return found


tbrm_reward = reward_function()
