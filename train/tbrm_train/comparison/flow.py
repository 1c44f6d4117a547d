"""A comparison from its plan to its report: train what is missing, read the results, compare them.

    runs/x/comparison.json  comparison.md  curves.svg  curves.csv

They are rewritten from the runs every time. Undefined numbers are null in JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from tbrm_bench.errors import RunFailed
from tbrm_bench.files import write_files
from tbrm_train.comparison.curves import curves_csv, mean_curve, read_curve
from tbrm_train.comparison.figure import learning_curves_svg
from tbrm_train.comparison.finals import arm_scores, pair_rows, read_scores
from tbrm_train.comparison.ledger import mean_ledger, passes_of, read_ledger, read_shape
from tbrm_train.comparison.plan import RESULT, ComparisonPlan, Run, check_folder, open_folder
from tbrm_train.comparison.report import report_markdown
from tbrm_train.comparison.result import Result
from tbrm_train.comparison.runs import Launch, Outcome, Report, train_all
from tbrm_train.comparison.same_inputs import check_inputs, check_stored, input_notes
from tbrm_train.output.checkpoint import last_checkpoint, meter_of

REPORT, FIGURE, CURVES = "comparison.md", "curves.svg", "curves.csv"


def compare(plan: ComparisonPlan, launch: Launch, report: Report) -> Result:
    """Train what is not finished, then write and return the comparison.

    Raises UserError for a folder that is not this comparison's or whose trainings had other inputs, RunFailed if no
    training finished; finished ones stay, and the same call resumes.
    """
    check_folder(plan)
    check_inputs(plan, plan.runs[0], report)
    open_folder(plan)
    outcomes = train_all(plan, launch, report)
    finished = [outcome.run for outcome in outcomes if outcome.status != "failed"]
    if not finished:
        raise RunFailed(f"none of {len(outcomes)} trainings finished; the first one failed with: {outcomes[0].reason}")
    check_stored(plan)
    result = _gather(plan, outcomes, finished)
    _write(result)
    return result


def _gather(plan: ComparisonPlan, outcomes: Sequence[Outcome], finished: Sequence[Run]) -> Result:
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


def _notes(plan: ComparisonPlan, outcomes: Sequence[Outcome], finished: Sequence[Run]) -> list[str]:
    """Return what a reader must know before trusting the comparison."""
    notes = [
        f"{item.run.name} is missing: {item.reason} (log: {item.run.log})"
        for item in outcomes
        if item.status == "failed"
    ]
    if len(plan.seeds) == 1:
        notes.append(
            "one seed: differences are those of these trained models, the variance between trainings is unknown, "
            "and no arm is called better (--seeds 3 or more)"
        )
    notes += input_notes(finished)
    for run in finished:
        last, limits = last_checkpoint(run.output), run.arm.recipe.budget
        meter = meter_of(run.arm.recipe, last)
        if any(limit is not None for limit in asdict(limits).values()) and not meter.is_spent:
            notes.append(
                f"{run.name} ended after optimizer.steps={run.arm.recipe.optimizer.steps} with {meter.share:.0%} of "
                "the budget: the arms did not spend the same; raise optimizer.steps"
            )
    return notes


def _write(result: Result) -> None:
    plan = result.plan
    count = len(plan.seeds)
    figure = learning_curves_svg(
        result.curves,
        title=f"Validation while training: {count} seed{'s' if count > 1 else ''} per arm",
        score=f"validation avg@{plan.base.evaluation.samples} (%)",
        band="± one standard deviation between seeds",
    )
    rows = [(arm, seed, points) for (arm, seed), points in result.points.items()]
    texts = {FIGURE: figure, CURVES: curves_csv(rows), REPORT: report_markdown(result)}
    # Written last: if it exists, the others are of the same runs.
    texts[RESULT] = json.dumps(result.as_json(), indent=2) + "\n"
    write_files({plan.output / name: text for name, text in texts.items()})
