"""A budget: the training ends after the first step that reaches it.

    [budget]
    generated_tokens = 1000000

Tokens are the sums of `tokens/generated` and `tokens/trained` over all lines of metrics.jsonl (including step 0, the
samples for A*-PO's V*); validation and evaluation are free. A budget of tokens therefore ends a repeated training at
the same step, and every checkpoint stores what is spent. Seconds are those of rollouts, updates and weight syncs, so
where such a training ends depends on the machine. Example: steps of 400, 380 and 430 tokens with a budget of 800 tokens
end after the third step.
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
        """The fraction of the budget that is spent, the largest over its limits; 0 without a limit, may exceed 1."""
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
        """Return what a checkpoint stores; seconds, which differ when repeated, only if they are limited."""
        tokens: dict[str, float] = {
            "generated_tokens": int(self.generated_tokens),
            "trained_tokens": int(self.trained_tokens),
        }
        return tokens if self.budget.seconds is None else tokens | {"seconds": self.seconds}
