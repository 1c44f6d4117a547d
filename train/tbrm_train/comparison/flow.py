"""A comparison from its plan to its report: train what is missing, read what was written, put it side by side.

    runs/x/comparison.json  comparison.md  curves.svg  curves.csv

Made anew from the runs every time, so they can be remade at no cost. Numbers that are undefined are null in JSON.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tbrm_bench.errors import RunFailed
from tbrm_bench.files import write_files
from tbrm_train.checkpoint import last_checkpoint, meter_of
from tbrm_train.comparison.curves import MeanCurve, Point, curves_csv, mean_curve, read_curve
from tbrm_train.comparison.figure import learning_curves_svg
from tbrm_train.comparison.finals import ArmScore, PairRow, arm_scores, pair_rows, read_scores
from tbrm_train.comparison.ledger import Ledger, mean_ledger, passes_of, read_ledger, read_shape
from tbrm_train.comparison.plan import RESULT, Plan, Run, check_folder, open_folder
from tbrm_train.comparison.runs import Launch, Outcome, Tell, train_all
from tbrm_train.comparison.same_inputs import check_inputs, check_stored, input_notes

REPORT, FIGURE, CURVES = "comparison.md", "curves.svg", "curves.csv"


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that a comparison tells; `notes` are what a reader must know before believing it."""

    plan: Plan
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


def compare(plan: Plan, launch: Launch, tell: Tell) -> Result:
    """Train what is not finished, then write and return the comparison.

    Raises UserError for a folder that is not this comparison's or whose trainings had other inputs, RunFailed if no
    training could be finished; those that were finished stay, and the same call goes on.
    """
    check_folder(plan)
    check_inputs(plan, plan.runs[0], tell)
    open_folder(plan)
    outcomes = train_all(plan, launch, tell)
    finished = [outcome.run for outcome in outcomes if outcome.status != "failed"]
    if not finished:
        raise RunFailed(f"none of {len(outcomes)} trainings was finished; the first failed with: {outcomes[0].reason}")
    check_stored(plan)
    result = _gather(plan, outcomes, finished)
    _write(result)
    return result


def _gather(plan: Plan, outcomes: Sequence[Outcome], finished: Sequence[Run]) -> Result:
    scores = read_scores(plan, finished)
    points = {(run.arm.name, run.seed): read_curve(run.output) for run in finished}
    ledgers = {}
    for run in finished:
        last = last_checkpoint(run.output)
        assert last is not None
        ledgers[run.arm.name, run.seed] = read_ledger(run.output, run.arm.recipe, read_shape(last.path))
    names = [arm.name for arm in plan.arms if any(run.arm.name == arm.name for run in finished)]
    return Result(
        plan=plan,
        outcomes=tuple(outcomes),
        scores=tuple(arm_scores(scores)),
        pairs=tuple(pair_rows(scores, [arm.name for arm in plan.arms])),
        ledgers={name: mean_ledger([value for key, value in ledgers.items() if key[0] == name]) for name in names},
        run_ledgers=ledgers,
        passes={arm.name: str(passes_of(arm.recipe)) for arm in plan.arms},
        points=points,
        curves={name: mean_curve([value for key, value in points.items() if key[0] == name]) for name in names},
        notes=tuple(_notes(plan, outcomes, finished)),
    )


def _notes(plan: Plan, outcomes: Sequence[Outcome], finished: Sequence[Run]) -> list[str]:
    """Return what makes the comparison less than it seems."""
    notes = [
        f"{item.run.name} is missing: {item.reason} (log: {item.run.log})"
        for item in outcomes
        if item.status == "failed"
    ]
    if len(plan.seeds) == 1:
        notes.append(
            "one seed: differences are those of these trained models, nothing is known of the variance between "
            "trainings, and no arm is called better (--seeds 3 or more)"
        )
    notes += input_notes(finished)
    for run in finished:
        last, limits = last_checkpoint(run.output), run.arm.recipe.budget
        meter = meter_of(run.arm.recipe, last)
        if any(limit is not None for limit in asdict(limits).values()) and not meter.is_spent:
            notes.append(
                f"{run.name} ended after optimizer.steps={run.arm.recipe.optimizer.steps} with {meter.share:.0%} of "
                "the budget: the arms did not spend alike; raise optimizer.steps"
            )
    return notes


def _write(result: Result) -> None:
    from tbrm_train.comparison.report import report_markdown

    plan = result.plan
    count = len(plan.seeds)
    figure = learning_curves_svg(
        result.curves,
        title=f"Validation while training: {count} seed{'s' if count > 1 else ''} an arm",
        score=f"validation avg@{plan.base.evaluation.samples} (%)",
        band="± one standard deviation between seeds",
    )
    rows = [(arm, seed, points) for (arm, seed), points in result.points.items()]
    texts = {FIGURE: figure, CURVES: curves_csv(rows), REPORT: report_markdown(result)}
    # Last: where it stands, the others are of the same runs.
    texts[RESULT] = json.dumps(result.as_json(), indent=2) + "\n"
    write_files({plan.output / name: text for name, text in texts.items()})


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
