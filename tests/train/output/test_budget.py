"""A budget ends a training at a step that does not depend on kills, and the schedule ends with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tbrm_train.output.budget import Meter
from tbrm_train.recipes.rl_recipe import Budget

Runs = Any  # of conftest.py


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("budget", "share"),
    [
        (Budget(), 0.0),
        (Budget(generated_tokens=400), 0.5),
        (Budget(generated_tokens=400, trained_tokens=600), 0.75),
        (Budget(seconds=2.0), 1.5),
    ],
)
def test_the_share_is_that_of_the_limit_which_is_nearest(budget: Budget, share: float) -> None:
    meter = Meter(budget)
    for _ in range(2):
        meter.add({"tokens/generated": 100, "tokens/trained": 225, "reward": 1.0}, 1.5)
    assert meter.share == share
    assert meter.is_spent == (share >= 1)
    assert Meter(budget, **meter.state()).share == share, "a checkpoint keeps what is spent"


def test_a_training_ends_with_its_budget_also_when_it_was_killed(runs: Runs, tmp_path: Path) -> None:
    words = ("budget.generated_tokens=900", "optimizer.steps=40", "optimizer.schedule=linear")
    assert runs.train("tiny-grpo", f"output={tmp_path / 'straight'}", *words).codes == [0]
    killed = runs.train("tiny-grpo", f"output={tmp_path / 'killed'}", *words, kill=("tbrm_train.run.loop._roll_out", 2))
    assert killed.codes == [-9]
    done = runs.train("tiny-grpo", f"output={tmp_path / 'killed'}", *words)
    assert done.codes == [0], done.err
    for name in ("metrics.jsonl", "validation.jsonl", f"checkpoints/{Path(done.out.strip()).name}/meta.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    steps = lines(tmp_path / "killed" / "metrics.jsonl")[1:]
    spent = [sum(step["tokens/generated"] for step in steps[: n + 1]) for n in range(len(steps))]
    assert spent[-2] < 900 <= spent[-1], "the first step that reaches it is the last"
    rates = [step["learning_rate"] / steps[0]["learning_rate"] for step in steps]
    shares = [max(before / 900, n / 40) for n, before in enumerate([0, *spent[:-1]])]
    assert rates == pytest.approx([1 - share for share in shares])
    again = runs.train("tiny-grpo", f"output={tmp_path / 'killed'}", *words)
    assert (again.codes, again.out) == ([0], done.out)


def test_a_validation_is_the_mean_of_what_is_stored_of_each_prompt(runs: Runs, tmp_path: Path) -> None:
    """Another seed with the same `prompts.seed` asks the same held-out prompts."""
    stored = []
    for seed in (1, 2):
        output = tmp_path / str(seed)
        words = (f"output={output}", f"seed={seed}", "prompts.seed=1", "optimizer.steps=1", "evaluation.samples=2")
        assert runs.train("tiny-grpo", *words).codes == [0]
        found = lines(output / "validation.jsonl")
        metrics = {line["step"]: line for line in lines(output / "metrics.jsonl")}
        for line in found:
            mean = sum(line["scores"]) / len(line["scores"])
            assert metrics[line["step"]]["validation/avg"] == pytest.approx(mean)
        stored.append(found)
    ours, theirs = stored
    assert [line["ids"] for line in ours] == [line["ids"] for line in theirs]
    assert [line["scores"] for line in ours] != [line["scores"] for line in theirs], "seeds of their own"
