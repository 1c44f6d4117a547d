"""A budget: a training ends after the first step in which it is reached.

    [budget]
    generated_tokens = 1000000

Tokens are those of `tokens/generated` and `tokens/trained` in metrics.jsonl, added up over all of its lines (step 0,
the samples behind A*-PO's V*, among them); validation and evaluation cost nothing. So a budget of tokens ends a
training at the same step whenever it is repeated, and what is spent is in every checkpoint. Seconds are those of
rollouts, updates and weight syncs: such a training ends where the machine lets it. Example: steps of 400, 380 and 430
tokens and a budget of 800 tokens end after the third step.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tbrm_train.recipes.rl_recipe import Budget

PAID_PHASES = ("rollout", "update", "sync")


@dataclass(slots=True)
class Meter:
    """What a training has spent so far: tokens of all processes, seconds of the slowest."""

    budget: Budget
    generated_tokens: float = 0
    trained_tokens: float = 0
    seconds: float = 0.0

    def add(self, metrics: Mapping[str, float], seconds: float) -> None:
        """Count what a step cost."""
        self.generated_tokens += metrics.get("tokens/generated", 0)
        self.trained_tokens += metrics.get("tokens/trained", 0)
        self.seconds += seconds

    @property
    def share(self) -> float:
        """The share of the budget that is spent, of several limits the largest; 0 without a limit, above 1 beyond."""
        limits = (
            (self.generated_tokens, self.budget.generated_tokens),
            (self.trained_tokens, self.budget.trained_tokens),
            (self.seconds, self.budget.seconds),
        )
        return max((spent / limit for spent, limit in limits if limit is not None), default=0.0)

    @property
    def is_spent(self) -> bool:
        """True if the training ends here."""
        return self.share >= 1

    def state(self) -> dict[str, float]:
        """Return what a checkpoint keeps; seconds, which no two trainings share, only where they are limited."""
        tokens: dict[str, float] = {
            "generated_tokens": int(self.generated_tokens),
            "trained_tokens": int(self.trained_tokens),
        }
        return tokens if self.budget.seconds is None else tokens | {"seconds": self.seconds}
