"""Checks that all trainings in a comparison's folder have the same inputs: one ranking must not mix two models.

Arms differ in what they declare, which is in their recipes; what the recipes name (model, tokenizer, prompts, golds,
the evaluation's rows) must be the same for all arms and seeds. It is compared before each training starts, also with
trainings that finished earlier, and again before the ranking.
"""

from collections.abc import Callable, Sequence

from tbrm_bench.errors import UserError
from tbrm_train.comparison.plan import ComparisonPlan, Run
from tbrm_train.output.inputs import Inputs, differences, moved, other_versions, read_inputs


def check_inputs(plan: ComparisonPlan, run: Run, report: Callable[[str], None]) -> None:
    """Raise UserError if the inputs of a training, as they are now, are not those of the trainings in the folder.

    Inputs that cannot be read are reported; the training itself then fails with its own error, if it has to start.
    """
    first = check_stored(plan)
    if first is None:
        return
    try:
        from tbrm_train.run.session import load_given

        found = load_given(run.arm.recipe).inputs()
    except (UserError, ImportError) as error:
        report(f"the inputs are not checked against those of {first[0]}: {error}")
        return
    for field, then, now in differences(first[1].facts, found.facts):
        raise UserError(
            f"the trainings in {plan.output} share their inputs, but one has changed since {first[0]} was trained: "
            f"{field} is {now}, it was {then}{moved(first[1], found)}; restore it, or give another folder, --out DIR"
        )


def check_stored(plan: ComparisonPlan) -> tuple[str, Inputs] | None:
    """Return a training in the folder and its inputs, None if there is none; raise UserError if two differ."""
    first: tuple[str, Inputs] | None = None
    for folder in sorted((plan.output / "runs").glob("*/seed-*/")):
        inputs, name = read_inputs(folder), f"{folder.parent.name} {folder.name.replace('-', ' ')}"
        if inputs is None:
            continue
        first = first or (name, inputs)
        for field, ours, theirs in differences(first[1].facts, inputs.facts):
            raise UserError(
                f"{name} and {first[0]} were trained on different inputs: {field} is {theirs} and {ours}; remove "
                f"{folder} to train it again, or give another folder, --out DIR"
            )
    return first


def input_notes(finished: Sequence[Run]) -> list[str]:
    """Return notes on finished trainings without stored inputs, and on different versions."""
    stored = [(run.name, inputs) for run in finished if (inputs := read_inputs(run.output)) is not None]
    missing = [run.name for run in finished if run.name not in dict(stored)]
    notes = []
    if missing:
        notes.append(
            f"{', '.join(missing)}: trained before inputs were stored; nothing shows that model and prompts were the "
            "same as now"
        )
    for name, inputs in stored:
        if inputs.from_step:
            notes.append(f"{name}: its inputs are stored only from step {inputs.from_step} on")
    for name, inputs in stored[1:]:
        changed = other_versions(stored[0][1], inputs)
        if changed:
            notes.append(f"{stored[0][0]} and {name} were trained with different versions: {'; '.join(changed)}")
    return notes
