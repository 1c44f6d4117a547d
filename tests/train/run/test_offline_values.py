"""A*-PO as a training: V* comes from the model before training, is charged for, and outlives every kill."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.errors import RunFailed, UserError
from tbrm_train.algorithms.astarpo import soft_value
from tbrm_train.output.checkpoint import VALUES
from tbrm_train.recipes.rl_rules import load_rl_recipe
from tbrm_train.run.offline_values import read_values, value_table

TINY = Path(__file__).resolve().parents[3] / "train" / "recipes" / "tiny-tbrm.toml"
Runs = Any  # of conftest.py
ASTARPO = (
    'algorithm={name="astarpo", beta=0.02, value_samples=4, value_beta=0.5}',
    *("rollout.samples_per_prompt=1", "rollout.prompts_per_step=8"),
)


def lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def files(output: Path) -> dict[str, bytes]:
    """Return what must not depend on kills."""
    names = ("metrics.jsonl", VALUES, "model.safetensors")
    return {str(path.relative_to(output)): path.read_bytes() for name in names for path in output.rglob(name)}


@pytest.fixture(scope="module")
def straight(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("astarpo") / "run"
    done = runs.train("tiny-tbrm", f"output={output}", *ASTARPO)
    assert done.codes == [0], done.err
    return output


def test_the_first_loss_is_the_squared_distance_of_rewards_from_stored_values(straight: Path) -> None:
    """At the first step pi is pi_ref, so delta = V* - r; a right answer earns 1, any other 0."""
    stored = read_values(straight)
    values = stored.values
    # Four samples, each right or wrong: V* is one of five numbers, of the beta that was given for it.
    possible = [soft_value([1.0] * right + [0.0] * (4 - right), beta=0.5) for right in range(5)]
    assert stored.prompts == len(values) == 20, "every prompt that is asked, none that is held out"
    assert all(min(abs(value - other) for other in possible) < 1e-12 for value in values.values())
    assert len(set(values.values())) > 2
    before, first, *_ = lines(straight)
    assert before["step"] == 0
    assert before["tokens/generated"] == stored.tokens > 0, "the samples for V* count as generated tokens"
    assert first["log_ratio"] == 0
    assert first["residual"] == pytest.approx(first["optimal_value"] - first["reward"], abs=1e-6)
    share = first["outcome/correct"]
    # Where all of a kind have the residual c the square is c^2; the mean of squares is never below the square of means.
    kinds = [(share, first["residual/right"]), (1 - share, first["residual/wrong"])]
    least = sum(weight * residual**2 for weight, residual in kinds if residual is not None)
    assert least - 1e-9 <= first["loss"] <= 1
    assert any(line["grad_norm"] > 0 for line in lines(straight)[1:])


def test_killed_while_it_samples_for_values_it_goes_on_with_those_that_are_missing(
    straight: Path, runs: Runs, tmp_path: Path
) -> None:
    """Twenty prompts are sampled in batches of eight, eight and four."""
    output, sampling = tmp_path / "run", "tbrm_train.run.offline_values.sample"
    words = (f"output={output}", *ASTARPO)
    assert runs.train("tiny-tbrm", *words, kill=(sampling, 1)).codes == [-9]
    assert not (output / VALUES).exists()
    killed = runs.train("tiny-tbrm", *words, kill=(sampling, 3))
    assert killed.codes == [-9]
    assert read_values(output).prompts == 16
    assert [line for line in killed.err.splitlines() if line.startswith("V*")] == [
        "V* of 8 of 20 prompts",
        "V* of 16 of 20 prompts",
    ]
    assert runs.train("tiny-tbrm", *words, kill=("tbrm_train.run.loop._roll_out", 1)).codes == [-9]
    assert read_values(output).prompts == 20
    done = runs.train("tiny-tbrm", *words, kill=(sampling, 1))
    assert done.codes == [0], "nothing is left to sample"
    assert files(output) == files(straight)


def test_killed_after_a_checkpoint_it_ends_with_the_same_values_and_bytes(
    straight: Path, runs: Runs, tmp_path: Path
) -> None:
    words = (f"output={tmp_path / 'run'}", *ASTARPO)
    for kill in (("tbrm_train.run.loop._roll_out", 3), ("tbrm_train.learner.learner.Learner.save", 1)):
        assert runs.train("tiny-tbrm", *words, kill=kill).codes == [-9]
    done = runs.train("tiny-tbrm", *words)
    assert done.codes == [0], done.err
    assert files(tmp_path / "run") == files(straight)


def test_two_processes_learn_from_the_same_values(straight: Path, runs: Runs, tmp_path: Path) -> None:
    output = tmp_path / "run"
    done = runs.train("tiny-tbrm", f"output={output}", *ASTARPO, "optimizer.steps=1", world_size=2)
    assert done.codes == [0, 0], done.err
    ours, theirs = read_values(output).values, read_values(straight).values
    assert ours == {name: theirs[name] for name in ours}
    assert len(ours) == 8, "one step asks eight prompts"
    for name in ("loss", "residual", "optimal_value", "reward", "tokens/generated"):
        assert lines(output)[1][name] == pytest.approx(lines(straight)[1][name], rel=1e-6), name


def test_values_that_take_the_whole_budget_are_told_before_a_step(runs: Runs, tmp_path: Path) -> None:
    """Beyond its budget a schedule would have a negative rate."""
    output = tmp_path / "run"
    words = (*ASTARPO, "budget.generated_tokens=100", "optimizer.schedule=linear")
    done = runs.train("tiny-tbrm", f"output={output}", *words)
    assert done.codes == [1]
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    tokens = lines(output)[0]["tokens/generated"]
    assert f"the samples for V* took {tokens:,} tokens, the entire [budget]" in line
    assert [line["step"] for line in lines(output)] == [0]


def test_lost_values_are_one_line(straight: Path, runs: Runs, tmp_path: Path) -> None:
    output = tmp_path / "run"
    words = (f"output={output}", *ASTARPO)
    assert runs.train("tiny-tbrm", *words, kill=("tbrm_train.run.loop._roll_out", 2)).codes == [-9]
    (output / VALUES).unlink()
    done = runs.train("tiny-tbrm", *words)
    assert done.codes == [1]
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"{output / VALUES} cannot be read (it does not exist)" in line
    assert "Traceback" not in done.err
    assert (output / "checkpoints" / "step-000001" / "model.safetensors").is_file()


@pytest.mark.parametrize("text", ["", "[]", '{"values": {}}', '{"prompts": 1, "tokens": 1, "values": {"a": null}}'])
def test_damaged_values_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / VALUES).write_text(text)
    with pytest.raises(RunFailed, match=r"values.json cannot be read \(it is damaged\)"):
        read_values(tmp_path)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.5, 1.0]))), st.floats(0.01, 10))
def test_each_prompt_has_the_value_of_its_own_samples(rewards: list[tuple[str, float]], beta: float) -> None:
    table = value_table(rewards, partial(soft_value, beta=beta))
    assert set(table) == {name for name, _ in rewards}
    for name, value in table.items():
        own = [reward for other, reward in rewards if other == name]
        # exp(V / beta) is the mean of exp(r / beta).
        exact = beta * math.log(sum(math.exp((reward - 1) / beta) for reward in own) / len(own)) + 1
        assert value == pytest.approx(exact, abs=1e-9)


def test_values_belong_to_the_first_reference() -> None:
    with pytest.raises(UserError, match=r"astarpo does not read algorithm\.reference_reset_every"):
        load_rl_recipe(TINY, [*ASTARPO, "algorithm.reference_reset_every=2"])
    with pytest.raises(UserError, match="value_beta is 0"):
        load_rl_recipe(TINY, [*ASTARPO, "algorithm.value_beta=0"])
