"""The ledger: FLOPs as torch counts them on the bundled model, sums of what a run wrote."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tbrm_bench.resources import builtin_model_dir
from tbrm_train.comparison.ledger import (
    Passes,
    Shape,
    forward_flops,
    mean_ledger,
    passes_of,
    read_ledger,
    read_shape,
    step_flops,
)
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import load_rl_recipe

TOY = (
    *("rollout.engine=hf", "rollout.prompts_per_step=4", "rollout.samples_per_prompt=4", "rollout.max_tokens=40"),
    *("prompts.num_prompts=24", "prompts.validation=4", "evaluation.every=2", "evaluation.samples=1"),
    "optimizer.warmup_steps=0",
)
RECIPES = Path(__file__).resolve().parents[3] / "train" / "recipes"
SHAPE = Shape(layer_weights=1000, head_weights=500, num_layers=2, attention_width=16)
LINE = {"step": 1, "tokens/generated": 64, "tokens/trained": 160}


def recipe(name: str = "tiny-grpo", *words: str) -> RlRecipe:
    return load_rl_recipe(RECIPES / f"{name}.toml", words)


def test_forward_and_backward_cost_what_torch_counts() -> None:
    """Torch counts every token against every other, we those that a causal model needs: half of it."""
    from transformers import AutoModelForCausalLM

    folder, length = builtin_model_dir("tiny"), 24
    shape = read_shape(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        logits = model(torch.arange(length)[None], use_cache=False).logits
    attention = 2 * shape.num_layers * shape.attention_width * length * length
    head = 2 * shape.head_weights * length
    layers = forward_flops(shape, tokens=length, length=length)
    assert counter.get_total_flops() == pytest.approx(layers + attention + head, rel=2e-3), "rotary angles are the rest"
    with FlopCounterMode(display=False) as counter:
        logits.sum().backward()
    assert counter.get_total_flops() == pytest.approx(2 * (layers + attention + head), rel=2e-3)


def test_a_step_of_grpo_is_the_formula() -> None:
    grpo = recipe("tiny-grpo", "rollout.prompts_per_step=2", "rollout.samples_per_prompt=4")
    rollout, update = step_flops(SHAPE, passes_of(grpo), grpo, LINE)
    layers = 2 * 1000 * 160 + 2 * 2 * 16 * (160 / 8) * 160
    assert rollout == layers + 2 * 500 * 64
    assert update == 3 * layers + (2 + 6) * 500 * 64


def test_every_model_and_every_pass_is_counted_once_more() -> None:
    """Passes that a recipe adds add what they cost, whatever the rest is."""
    grpo = recipe("tiny-grpo", "rollout.prompts_per_step=2", "rollout.samples_per_prompt=4")
    none = Passes(policy_forward=0, policy_backward=0)
    layers, head = forward_flops(SHAPE, tokens=160, length=20), 2 * 500 * 64

    def update(passes: Passes) -> float:
        return step_flops(SHAPE, passes, grpo, LINE)[1]

    assert update(none) == 0
    assert update(replace(none, reference_forward=1)) == layers + head
    assert update(replace(none, critic_forward=2)) == 2 * layers
    assert update(replace(none, critic_backward=1)) == 2 * layers
    assert update(replace(none, recomputed=1)) == layers
    assert update(replace(none, policy_backward=1)) == 2 * layers + 3 * head
    vectors = replace(grpo, optimizer=replace(grpo.optimizer, parameters="vectors"))
    assert step_flops(SHAPE, replace(none, policy_backward=1), vectors, LINE)[1] == layers + 2 * head


@pytest.mark.parametrize(
    ("name", "words", "passes"),
    [
        ("tiny-grpo", (), "policy 1F+1B"),
        ("tiny-tbrm", (), "policy 1F+1B, reference 1F"),
        ("tiny-ppo", (), "policy 1F+1B, critic 2F+1B"),
        ("tiny-grpo", ("algorithm.updates_per_batch=4",), "policy 2F+1B"),
        ("tiny-grpo", ("algorithm.kl_coefficient=0.1",), "policy 1F+1B, reference 1F"),
    ],
)
def test_passes_are_those_of_the_algorithm(name: str, words: tuple[str, ...], passes: str) -> None:
    assert str(passes_of(recipe(name, *words))) == passes


COUNTING = """
import json, sys
from tbrm_bench.cli.app import main
from tbrm_train.learner import learner
from tbrm_train.policy import policy
counts = {"policy": 0, "critic": 0, "trained": 0}
def counted(cls, name):
    plain = cls.forward
    def forward(self, batch):
        counts[name] += len(batch.targets) * counting
        return plain(self, batch)
    cls.forward = forward
counting = 0
counted(policy.Policy, "policy")
counted(policy.Critic, "critic")
learn = learner.Learner.learn
def learn_and_count(self, trajectories, **given):
    global counting
    counting = 1
    counts["trained"] += sum(len(item.response) for item in trajectories)
    found = learn(self, trajectories, **given)
    counting = 0
    return found
learner.Learner.learn = learn_and_count
sys.argv = ["tbench", "train", *sys.argv[1:]]
try:
    main()
except SystemExit as left:
    assert not left.code
    print(json.dumps(counts))
"""


@pytest.mark.slow  # a training in a process of its own that is looked into: 15 s each
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiny-tbrm", ()),
        ("tiny-ppo", ("algorithm.updates_per_batch=2", "algorithm.kl_in_reward=0.1")),
        ("tiny-grpo", ("algorithm.updates_per_batch=2", "algorithm.kl_coefficient=0.1")),
    ],
)
def test_passes_are_those_that_the_learner_makes(name: str, words: tuple[str, ...], tmp_path: Path) -> None:
    toy = (*TOY, "optimizer.steps=1", "deepspeed.num_threads=1", *words)
    command = [sys.executable, "-c", COUNTING, str(RECIPES / f"{name}.toml"), *toy, f"output={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout.splitlines()[-1])
    passes = passes_of(recipe(name, *words))
    assert counts["trained"] > 0, done.stderr
    assert counts["policy"] == (passes.policy_forward + passes.reference_forward) * counts["trained"]
    assert counts["critic"] == passes.critic_forward * counts["trained"]


def test_a_ledger_is_the_sum_of_the_lines(tmp_path: Path) -> None:
    lines = [{"step": 0, "tokens/generated": 10}, LINE, {**LINE, "step": 2, "loss": None}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    timings = [
        {"step": 1, "seconds/rollout": 1.0, "seconds/update": 2.0, "seconds/sync": 0.5, "memory_gib": 1.5},
        {"step": 2, "seconds/rollout": 1.0, "seconds/validation": 9.0, "memory_gib": 1.25},
    ]
    (tmp_path / "timings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in timings))
    grpo = recipe()
    ledger = read_ledger(tmp_path, grpo, SHAPE)
    assert (ledger.steps, ledger.generated_tokens, ledger.trained_tokens) == (2, 138, 320)
    assert (ledger.seconds, ledger.memory_gib) == (4.5, 1.5), "validation is free"
    assert math.isnan(ledger.gpu_memory_gib)
    rollout, update = step_flops(SHAPE, passes_of(grpo), grpo, LINE)
    sampled = 2 * (1000 + 500) * 10
    assert ledger.flops == pytest.approx(sampled + 2 * (rollout + update))
    other = replace(ledger, rollout_s=4.0, memory_gib=3.0)
    mean = mean_ledger([ledger, other])
    assert (mean.rollout_s, mean.memory_gib) == (3.0, 3.0)
    assert mean.flops == pytest.approx(ledger.flops)
    assert math.isnan(mean_ledger([]).steps)
