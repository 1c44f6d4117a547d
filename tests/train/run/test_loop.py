"""The whole loop against a page of plain torch, and what stops it: one line, and what was trained stays."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tbrm_bench.engines.base import Engine
from tbrm_bench.grading import grade
from tbrm_bench.prompts.protocol import load_protocol
from tbrm_bench.prompts.render import load_tokenizer, stop_token_ids
from tbrm_bench.records import Sampling, Status
from tbrm_bench.resources import builtin_model_dir
from tbrm_train.algorithms.tbrm import Tbrm
from tbrm_train.data.prompts import load_prompts, requests, step_prompts
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import load_rl_recipe

ROOT = Path(__file__).resolve().parents[3]
Runs = Any  # of conftest.py
ONE_STEP = ("optimizer.steps=1", "optimizer.learning_rate=1e-3", "optimizer.eps=1e-3", "optimizer.max_grad_norm=0.05")


def one_step_by_hand(recipe: RlRecipe, engine: Engine) -> tuple[float, float, dict[str, torch.Tensor]]:
    """Return loss, gradient norm and weights after one step of TBRM, computed from whole tables of logits."""
    from transformers import AutoModelForCausalLM

    folder = builtin_model_dir("tiny")
    tokenizer, protocol = load_tokenizer(folder), load_protocol(recipe.prompts.protocol)
    prompts = load_prompts(recipe, tokenizer, 8192).train
    chosen = [(prompts[p], epoch) for p, epoch in step_prompts(prompts, seed=recipe.seed, step=0, count=4)]
    sampling = Sampling(1.0, 1.0, recipe.rollout.max_tokens, (), stop_token_ids(tokenizer, folder, protocol))
    asked = requests(chosen, count=4, sampling=sampling, seed=recipe.seed)
    samples = {sample.key: sample for found in engine.generate(asked) for sample in found}
    golds = {item.problem.key: item.problem.gold for item, _ in chosen}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(recipe.algorithm, Tbrm)
    loss, beta = torch.zeros(()), recipe.algorithm.beta
    for request in asked:
        sample = samples[request.key]
        ids = torch.tensor([*request.prompt_token_ids, *sample.token_ids])
        gold = golds[request.key[:2]]  # type: ignore[index]
        verdict = grade(sample.text, gold, finish_reason=sample.finish_reason)
        logits = model(ids[None]).logits[0, len(request.prompt_token_ids) - 1 : -1]  # (T, V)
        logprob = logits.log_softmax(-1).gather(1, ids[len(request.prompt_token_ids) :, None]).sum()
        # The policy is the reference still, so the log-ratio is 0 and only its gradient counts.
        residual = beta * (logits[0].logsumexp(-1) + logprob - logprob.detach())
        loss = loss + (residual - float(verdict.status is Status.CORRECT)).square() / len(asked)
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.max_grad_norm)
    settings = recipe.optimizer
    torch.optim.AdamW(model.parameters(), lr=1e-3, betas=settings.betas, eps=1e-3, weight_decay=0.0).step()
    return float(loss.detach()), float(norm), model.state_dict()


def test_a_step_is_what_plain_torch_makes_of_it(runs: Runs, hf_engine: Engine, tmp_path: Path) -> None:
    output = tmp_path / "run"
    words = [*ONE_STEP, "algorithm.center_value=false", "algorithm.center_reward=false", "algorithm.beta=0.02"]
    done = runs.train("tiny-tbrm", f"output={output}", *words)
    assert done.codes == [0], done.err
    loss, norm, weights = one_step_by_hand(load_rl_recipe(output / "recipe.toml"), hf_engine)
    last = json.loads((output / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["loss"] == pytest.approx(loss, rel=1e-5)
    assert last["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert norm > 0.05, "clipping takes part"
    saved = load_file(output / "checkpoints" / "step-000001" / "model.safetensors")
    start = load_file(builtin_model_dir("tiny") / "model.safetensors")
    for name, weight in saved.items():
        assert torch.allclose(weight, weights[name], atol=2e-7, rtol=0), name
    moved = max(float((weight - start[name].float()).abs().max()) for name, weight in saved.items())
    assert moved > 1e-5, "the step is larger than the tolerance"


def test_without_a_learning_rate_nothing_moves(runs: Runs, tmp_path: Path) -> None:
    output = tmp_path / "run"
    done = runs.train("tiny-grpo", f"output={output}", "optimizer.learning_rate=0", "optimizer.steps=2")
    assert done.codes == [0], done.err
    start = load_file(builtin_model_dir("tiny") / "model.safetensors")
    saved = load_file(output / "checkpoints" / "step-000002" / "model.safetensors")
    assert all(torch.equal(saved[name], weight.float()) for name, weight in start.items())
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["validation/avg"] == lines[2]["validation/avg"], "the same seeds, the same model, the same samples"


def test_vectors_alone_are_trained_where_a_recipe_says_so(runs: Runs, tmp_path: Path) -> None:
    output = tmp_path / "run"
    # With the value in the residual there is a gradient whatever the answers earn.
    words = ("optimizer.parameters=vectors", "optimizer.steps=1", "algorithm.center_value=false")
    done = runs.train("tiny-tbrm", f"output={output}", *words)
    assert done.codes == [0], done.err
    start = load_file(builtin_model_dir("tiny") / "model.safetensors")
    saved = load_file(output / "checkpoints" / "step-000001" / "model.safetensors")
    moved = {name for name, weight in saved.items() if not torch.equal(weight, start[name].float())}
    assert moved == {name for name, weight in saved.items() if weight.ndim == 1}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["optimizer.learning_rate=1e30"], 1, ["not finite", "lower optimizer.learning_rate 1e+30", "no checkpoint"]),
        (
            ["rollout.probe_tolerance=1e-12"],
            1,
            ["hf engine's log-probabilities differ", "rollout.probe_tolerance=1e-12"],
        ),
        (["prompts.num_prompts=5"], 2, ["leaves 1 prompts for training", "rollout.prompts_per_step is 4"]),
        (["rollout.max_tokens=9000"], 2, ["leaves 0 prompts", "24 too long"]),
        (["model=builtin:large"], 2, ["'large'", "tiny"]),
    ],
)
def test_what_stops_a_training_is_one_line(
    words: list[str], code: int, said: list[str], runs: Runs, tmp_path: Path
) -> None:
    done = runs.train("tiny-tbrm", f"output={tmp_path / 'run'}", "evaluation.every=9", "checkpoints.every=4", *words)
    assert done.codes == [code], done.err
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == (code > 0)
    assert "Traceback" not in done.err
    for part in said:
        assert part in errors[0]


def error_of(done: Any) -> str:
    """Return the one line that a training ended with."""
    assert "Traceback" not in done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    return str(line)


def kept(output: Path) -> dict[str, bytes]:
    """Return metrics and models of a training."""
    names = ("metrics.jsonl", "model.safetensors", "meta.json")
    return {str(path.relative_to(output)): path.read_bytes() for name in names for path in output.rglob(name)}


def test_rewards_that_all_time_out_stop_a_training_that_goes_on_once_they_do_not(runs: Runs, tmp_path: Path) -> None:
    """The fault: from the third step on, what judges an answer never ends, in workers that are killed for it."""
    straight, output = tmp_path / "straight", tmp_path / "run"
    assert runs.train("tiny-tbrm", f"output={straight}").codes == [0]
    hasty = "rewards.time_limit_s=0.1"
    done = runs.train("tiny-tbrm", f"output={output}", hasty, environment={"TEST_GRADING_HANGS_FROM": "3"})
    assert done.codes == [1]
    line = error_of(done)
    assert "error: step 3: 16 of 16 answers could not be graded (gold:time_limit 16), more than " in line
    assert "rewards.max_failed_share=0.2; check the golds, or raise it or rewards.time_limit_s=0.1" in line
    good, whole = kept(output), kept(straight)
    assert [json.loads(line)["step"] for line in good["metrics.jsonl"].splitlines()] == [0, 1, 2]
    assert whole["metrics.jsonl"].startswith(good.pop("metrics.jsonl"))
    assert good == {name: data for name, data in whole.items() if "step-000001" in name or "step-000002" in name}
    # With the limit raised, as the error suggests, the same training resumes and ends as without it.
    done = runs.train("tiny-tbrm", f"output={output}", "rewards.time_limit_s=5")
    assert done.codes == [0], done.err
    assert kept(output) == whole


def test_values_before_training_are_not_made_of_timeouts(runs: Runs, tmp_path: Path) -> None:
    words = ('algorithm={name="astarpo", beta=0.02, value_samples=2}', "optimizer.steps=1", "rewards.time_limit_s=0.1")
    output = tmp_path / "run"
    done = runs.train("tiny-tbrm", f"output={output}", *words, environment={"TEST_GRADING_HANGS_FROM": "0"})
    assert done.codes == [1]
    assert "step 0: 8 of 8 answers could not be graded (gold:time_limit 8)" in error_of(done)
    assert not (output / "values.json").exists()


@pytest.mark.parametrize("text", ["", "\n"], ids=["empty", "blank"])
def test_an_empty_prompt_source_is_one_line(text: str, runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    words = ["prompts.source=rows", f"prompts.data_dir={tmp_path}", "prompts.rows.files=['rows.jsonl']"]
    words += ["prompts.rows.question=q", "prompts.rows.answer=a", f"output={tmp_path / 'run'}"]
    done = runs.train("tiny-tbrm", *words)
    assert done.codes == [2], done.err
    assert "prompts.source rows leaves 0 prompts for training (0 found, " in error_of(done)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_another_recipe_or_another_number_of_processes_touches_nothing(runs: Runs, tmp_path: Path) -> None:
    output = tmp_path / "run"
    words = ("optimizer.steps=2", f"output={output}")
    assert runs.train("tiny-tbrm", *words, kill=("tbrm_train.run.loop._roll_out", 2)).codes == [-9]
    before = kept(output)
    assert len(before) == 3
    done = runs.train("tiny-tbrm", *words, "optimizer.learning_rate=1")
    assert done.codes == [2]
    assert f"{output} was started by another recipe: optimizer.learning_rate: 1.0, not 0.00015" in error_of(done)
    done = runs.train("tiny-grpo", *words)
    assert done.codes == [2]
    assert f"{output} was started by another recipe: " in error_of(done)
    done = runs.train("tiny-tbrm", *words, world_size=2)
    assert done.codes == [2, 2]
    assert kept(output) == before


def test_a_disk_too_full_for_a_line_of_metrics_is_one_line_and_loses_nothing(runs: Runs, tmp_path: Path) -> None:
    """The fault: no file may grow beyond 1,500 bytes, a few lines; checkpoints come later."""
    straight, output = tmp_path / "straight", tmp_path / "run"
    assert runs.train("tiny-tbrm", f"output={straight}", "checkpoints.every=4").codes == [0]
    words = (f"output={output}", "checkpoints.every=4")
    done = runs.train("tiny-tbrm", *words, environment={"TEST_FILE_LIMIT": "1500"})
    assert done.codes == [1]
    assert f"error: no room to write {output}" in error_of(done)
    done = runs.train("tiny-tbrm", *words)
    assert done.codes == [0], done.err
    assert kept(output) == kept(straight)
