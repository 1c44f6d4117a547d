"""The plan of a comparison: the arms, the seeds, the budget, and a folder for each training.

    runs/x/arms/tbrm.toml          the complete recipe of the arm
    runs/x/runs/tbrm/seed-1/       an ordinary run folder: tbench eval, show and train take it
    runs/x/runs/tbrm/seed-1.log    what it printed

The same command resumes. Seeds and arms may be added later; an arm's recipe may not change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tbrm_bench.errors import UserError
from tbrm_bench.files import check_free, write_files
from tbrm_bench.nearest import did_you_mean
from tbrm_train.comparison.arms import Arm, make_arms
from tbrm_train.output.checkpoint import INPUTS, RECIPE, is_finished, last_checkpoint
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import read_stored_recipe, recipe_changes, recipe_toml
from tbrm_train.run.task_scores import is_scored

BUDGETS = {
    "tokens": "budget.generated_tokens",
    "trained_tokens": "budget.trained_tokens",
    "seconds": "budget.seconds",
    "steps": "optimizer.steps",
}
ARMS, RESULT = "arms", "comparison.json"


@dataclass(frozen=True, slots=True)
class Run:
    """One training of one arm."""

    arm: Arm
    seed: int
    output: Path

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.arm.name} seed {self.seed}"

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.output.with_suffix(".log")

    def is_finished(self) -> bool:
        """Return whether nothing is left to train or to evaluate."""
        last, recipe = last_checkpoint(self.output), self.arm.recipe
        return last is not None and is_finished(recipe, last) and is_scored(recipe, last.path)


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """A comparison: every arm with every seed."""

    output: Path
    base: RlRecipe
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]

    @property
    def runs(self) -> list[Run]:
        """The trainings, seed by seed: a comparison that is stopped early has complete seeds."""
        return [
            Run(arm, seed, self.output / "runs" / arm.name / f"seed-{seed}") for seed in self.seeds for arm in self.arms
        ]

    def arm_file(self, arm: Arm) -> Path:
        """Return where the arm's recipe is stored."""
        return self.output / ARMS / f"{arm.name}.toml"


def make_plan(
    path: Path,
    words: Sequence[str] = (),
    *,
    arms: Sequence[str],
    declared: Sequence[str] = (),
    num_seeds: int = 3,
    budget: str | None = None,
    output: Path | None = None,
) -> ComparisonPlan:
    """Return the plan of a comparison; nothing is written.

    The recipe's seed is the first one; it decides the prompts and the held-out set for all seeds. Raises UserError for
    anything that would invalidate the comparison.
    """
    if num_seeds < 1:
        raise UserError(f"--seeds is {num_seeds}; 1 or more is needed, 3 or more to tell algorithms from luck")
    words = [*words, *budget_words(budget)]
    base, _ = make_arms(path, words, specs=arms, declared=declared)
    if base.evaluation.every is None or base.prompts.validation == 0:
        wanted = "evaluation.every=N" if base.evaluation.every is None else "prompts.validation=N"
        raise UserError(f"{path}: no held-out prompt is evaluated, so there is nothing to compare; set {wanted}")
    base, made = make_arms(path, [*words, f"prompts.seed={base.data_seed}"], specs=arms, declared=declared)
    seeds = tuple(range(base.seed, base.seed + num_seeds))
    return ComparisonPlan(output or Path(f"{base.output}-compare"), base, tuple(made), seeds)


def budget_words(budget: str | None) -> list[str]:
    """Return a budget as words of a recipe: `tokens=1e6` is budget.generated_tokens=1000000."""
    if budget is None:
        return []
    name, separator, text = budget.partition("=")
    if not separator:
        raise UserError(f"--budget {budget} has no kind; write tokens={budget if budget[:1].isdigit() else 1000000}")
    if name not in BUDGETS:
        raise UserError(f"--budget has no kind {name!r}; {did_you_mean(name, BUDGETS)}")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    is_count = name != "seconds"
    if not 0 < number < math.inf or (is_count and number != int(number)):
        raise UserError(f"--budget {budget!r}: {text!r} is not a {'whole ' if is_count else ''}number above 0")
    return [f"{BUDGETS[name]}={int(number) if is_count else number}"]


def check_folder(plan: ComparisonPlan) -> None:
    """Raise UserError if the folder is something else, or has an arm of the same name with another recipe."""
    if not (plan.output / ARMS).is_dir():
        check_free(plan.output)
    for arm in plan.arms:
        file = plan.arm_file(arm)
        # As in a training's own folder: names may change if their content is fingerprinted.
        started = [path.parent for path in file.parents[1].glob(f"runs/{arm.name}/seed-*/{RECIPE}")]
        by_content = all((run / INPUTS).is_file() for run in started)
        changes = recipe_changes(arm.recipe, read_stored_recipe(file), by_content=by_content) if file.is_file() else []
        if changes:
            raise UserError(
                f"{plan.output} has another arm {arm.name}: {changes[0]}; give another folder, --out DIR, or "
                f"rename the arm"
            )


def open_folder(plan: ComparisonPlan) -> None:
    """Create the comparison's folder, or open the existing one, and store the arms; raises like `check_folder`."""
    check_folder(plan)
    for arm in plan.arms:
        file = plan.arm_file(arm)
        # Rewritten too: keys that may change between two starts are those of this start.
        write_files({file: recipe_toml(arm.recipe)}, make_folders=True)
