"""An algorithm's file decides which keys a recipe may write; what earlier versions stored of others still loads."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from annotated_types import Gt, Lt

from tbrm_bench.errors import UserError
from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.algorithms.signals import Algorithm, Needs
from tbrm_train.comparison.arms import make_arms
from tbrm_train.comparison.ledger import passes_of
from tbrm_train.output.checkpoint import open_output
from tbrm_train.recipes.rl_rules import load_rl_recipe, read_stored_recipe, recipe_toml

ROOT = Path(__file__).resolve().parents[3]
RECIPES = ROOT / "train" / "recipes"
TBRM, GRPO, PPO = (RECIPES / f"tiny-{name}.toml" for name in ("tbrm", "grpo", "ppo"))
# What every recipe stored in [algorithm] before, beside what the recipe itself gave.
STORED = """center_value = false
center_reward = false
freeze_value = false
beta = 0.002
clip_low = 0.2
clip_high = 0.2
value_clip = 0.5
gamma = 1.0
lam = 1.0
kl_coefficient = 0.0
kl_in_reward = 0.0
entropy_coefficient = 0.0
updates_per_batch = 1
value_samples = 8
"""


def stored_before(path: Path) -> str:
    """A recipe as an earlier version stored it: every key of every algorithm, and of the critic."""
    lines = recipe_toml(load_rl_recipe(path)).splitlines()
    given = {line.partition(" = ")[0] for line in lines}
    more = [line for line in STORED.splitlines() if line.partition(" = ")[0] not in given]
    found = []
    for line in lines:
        found.append(line)
        found += more if line == "[algorithm]" else []
        found += ["critic_learning_rate = 1e-05"] * (line == "[optimizer]" and "critic_learning_rate" not in given)
    return "\n".join(found)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_has_its_name_its_page_and_parts_that_fit(name: str) -> None:
    algorithm = ALGORITHMS[name]
    needs = algorithm.needs(algorithm.coefficients())
    assert algorithm.coefficients().name == name
    assert f'name = "{name}"' in (ROOT / "docs" / "algorithms" / f"{name}.md").read_text()
    assert (algorithm.critic_loss is not None) == needs.critic
    assert (algorithm.optimal_value is not None) == (needs.value_samples > 0)


@pytest.mark.parametrize(
    ("path", "words", "said"),
    [
        (
            GRPO,
            ["algorithm.name=reinforce", "algorithm.kl_coefficient=0.7"],
            "reinforce does not read algorithm.kl_coefficient; it reads kl_in_reward, reference_reset_every",
        ),
        (TBRM, ["algorithm.kl_in_reward=0.1"], "tbrm does not read algorithm.kl_in_reward; it reads beta, "),
        (TBRM, ["algorithm.name=drgrpo"], "drgrpo does not read algorithm.beta, algorithm.center_value, "),
        (GRPO, ["algorithm.clip_lo=0.1"], "did you mean 'clip_low'"),
        (GRPO, ["algorithm.gamma=1"], "grpo does not read algorithm.gamma"),
        (GRPO, ["algorithm.reference_reset_every=5"], "grpo has no reference while its KL coefficients are 0"),
        (GRPO, ["optimizer.critic_learning_rate=1e-3"], "grpo has no critic"),
        (PPO, ["algorithm.name=grpo"], "grpo has no critic"),
        (GRPO, ["algorithm={}"], "lacks the key 'name'; available: tbrm, "),
        (GRPO, ["algorithm=3"], "lacks the key"),
        (GRPO, ["algorithm.name=[]"], "algorithm.name: [] is not one of"),
        (PPO, ["algorithm.gamma=1.5"], "algorithm.gamma is 1.5; 0 or more and at most 1 is needed"),
        (PPO, ["algorithm.lam=nan"], "algorithm.lam is nan"),
        (GRPO, ["algorithm.clip_high=inf"], "algorithm.clip_high is inf; more than 0"),
        (GRPO, ["algorithm.updates_per_batch=0"], "algorithm.updates_per_batch is 0; 1 or more"),
        (GRPO, ["algorithm.updates_per_batch=257"], "a batch has 256 trajectories"),
        (GRPO, ["algorithm.reference_reset_every=0"], "reference_reset_every is 0; 1 or more"),
    ],
)
def test_what_a_person_writes_and_nothing_reads_is_refused(path: Path, words: list[str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        load_rl_recipe(path, words)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (GRPO, ["algorithm.name=reinforce", "algorithm.kl_in_reward=0.1", "algorithm.reference_reset_every=5"]),
        (GRPO, ["algorithm.kl_coefficient=0.1", "algorithm.reference_reset_every=5"]),
        (GRPO, ["algorithm.kl_coefficient=0", "algorithm.updates_per_batch=2"]),
        (GRPO, ["rollout.engine=hf", "rollout.gpu_memory=0.5"]),
        (TBRM, ['algorithm={name="reinforce"}']),
        (TBRM, ["rollout.samples_per_prompt=1", "algorithm.center_reward=false"]),
    ],
)
def test_what_is_read_is_accepted_and_stored(path: Path, words: list[str], tmp_path: Path) -> None:
    recipe = load_rl_recipe(path, words)
    stored = tmp_path / "recipe.toml"
    stored.write_text(recipe_toml(recipe))
    assert load_rl_recipe(stored) == read_stored_recipe(stored) == recipe
    own = {line.partition(" = ")[0] for line in stored.read_text().splitlines()}
    assert ("critic_learning_rate" in own) == recipe.needs.critic


@pytest.mark.parametrize("path", [TBRM, GRPO, PPO], ids=lambda path: path.stem)
def test_a_folder_of_an_earlier_version_belongs_to_the_same_recipe(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    output.mkdir()
    (output / "recipe.toml").write_text(stored_before(path))
    (output / "metrics.jsonl").touch()
    recipe = load_rl_recipe(path)
    assert read_stored_recipe(output / "recipe.toml") == load_rl_recipe(output / "recipe.toml") == recipe
    assert open_output(load_rl_recipe(path, [f"output={output}"])) == []
    other = {PPO: "algorithm.gamma=0.5", TBRM: "algorithm.beta=0.5", GRPO: "algorithm.clip_low=1"}[path]
    changed = load_rl_recipe(path, [f"output={output}", other])
    with pytest.raises(UserError, match="started by another recipe: algorithm"):
        open_output(changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    name: str = "margin"
    margin: Annotated[float, Gt(0), Lt(1)] = 0.5
    anchored: bool = False


def test_a_new_line_of_the_table_is_all_that_recipes_and_comparisons_ask_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def needs(settings: Margin) -> Needs:
        return Needs(reference=settings.anchored, groups=True)

    monkeypatch.setitem(ALGORITHMS, "margin", Algorithm(Margin, needs, loss=lambda batch, settings: (batch, {})))  # type: ignore[arg-type, return-value]
    recipe = load_rl_recipe(GRPO, ["algorithm.name=margin", "algorithm.margin=0.25", "algorithm.anchored=true"])
    assert recipe.algorithm == Margin(margin=0.25, anchored=True)
    assert passes_of(recipe).reference_forward == 1
    stored = tmp_path / "recipe.toml"
    stored.write_text(recipe_toml(recipe))
    assert read_stored_recipe(stored) == recipe
    for words, said in (
        (["algorithm.name=margin", "algorithm.margin=1"], "algorithm.margin is 1.0; more than 0 and below 1 is needed"),
        (
            ["algorithm.name=margin", "algorithm.beta=1"],
            "margin does not read algorithm.beta; it reads margin, ",
        ),
        (["algorithm.name=margin", "rollout.samples_per_prompt=1"], "margin compares samples: 2 or more"),
        (["algorithm.margin=0.1"], "grpo does not read algorithm.margin"),
        (["algorithm.name=margn"], "did you mean 'margin'"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            load_rl_recipe(GRPO, words)
    _, (grpo, margin) = make_arms(GRPO, ["algorithm.margin=0.1"], specs=["grpo", "margin"], declared=())
    assert (grpo.dropped, margin.dropped, margin.recipe.algorithm) == (("margin",), (), Margin(margin=0.1))


def test_a_recipe_is_read_without_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from tbrm_train.recipes.rl_rules import load_rl_recipe\n"
        f"load_rl_recipe(Path({str(TBRM)!r})); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
