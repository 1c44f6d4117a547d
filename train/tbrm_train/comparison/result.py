"""The result of a comparison: scores, pairs, curves and costs, for its report, its JSON and the terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tbrm_train.comparison.curves import MeanCurve, Point
from tbrm_train.comparison.finals import ArmScore, PairRow
from tbrm_train.comparison.ledger import Ledger
from tbrm_train.comparison.plan import ComparisonPlan
from tbrm_train.comparison.runs import Outcome
from tbrm_train.output.checkpoint import last_checkpoint


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that a comparison reports; `notes` are what a reader must know before trusting it."""

    plan: ComparisonPlan
    outcomes: tuple[Outcome, ...]
    scores: tuple[ArmScore, ...]
    pairs: tuple[PairRow, ...]
    ledgers: Mapping[str, Ledger]  # by arm, mean over its finished seeds
    run_ledgers: Mapping[tuple[str, int], Ledger]
    passes: Mapping[str, str]
    points: Mapping[tuple[str, int], Sequence[Point]]
    curves: Mapping[str, MeanCurve]
    notes: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """True if every training is finished."""
        return all(outcome.status != "failed" for outcome in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """Return plain values; NaN becomes None."""
        values: dict[str, Any] = _plain(_as_dict(self))
        return values


def _as_dict(result: Result) -> dict[str, Any]:
    plan = result.plan
    return {
        "schema": 1,
        "output": str(plan.output),
        "complete": result.is_complete,
        "notes": list(result.notes),
        "seeds": list(plan.seeds),
        "budget": {**asdict(plan.base.budget), "steps": plan.base.optimizer.steps},
        "arms": [
            {
                "name": arm.name,
                "algorithm": arm.recipe.algorithm.name,
                "differences": [asdict(item) for item in arm.differences],
                "dropped": list(arm.dropped),
                "passes": result.passes[arm.name],
                "ledger": result.ledgers[arm.name].as_json() if arm.name in result.ledgers else None,
                "curve": asdict(result.curves[arm.name]) if arm.name in result.curves else None,
                "runs": [_run(result, outcome) for outcome in result.outcomes if outcome.run.arm.name == arm.name],
            }
            for arm in plan.arms
        ],
        "scores": [asdict(row) for row in result.scores],
        "pairs": [{**asdict(row), "verdict": row.verdict} for row in result.pairs],
        "recipe": asdict(plan.base),
    }


def _run(result: Result, outcome: Outcome) -> dict[str, Any]:
    run = outcome.run
    key = (run.arm.name, run.seed)
    last = last_checkpoint(run.output)
    return {
        "seed": run.seed,
        "finished": outcome.status != "failed",
        "reason": outcome.reason,
        "output": str(run.output),
        "checkpoint": str(last.path) if last else None,
        "ledger": result.run_ledgers[key].as_json() if key in result.run_ledgers else None,
        "curve": [asdict(point) for point in result.points.get(key, ())],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
