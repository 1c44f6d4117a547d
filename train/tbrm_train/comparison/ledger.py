"""What a training cost, from its metrics and timings: tokens, passes, FLOPs, seconds, memory.

    forward of T tokens, R of them responses     F(T, R) = 2 P T + 2 L d n T + 2 H R
    backward                                     B(T, R) = 2 (2 P T + 2 L d n T) + 6 H R
    backward if only vectors are trained         2 P T + 2 L d n T + 4 H R
    rollout                                      F(T, R)

P weights of the layers (a multiplication and an addition each), L layers, d width of the attention, n mean tokens per
trajectory (each token attends to n / 2 others, twice: scores and values), H weights of the output layer, whose logits
are not kept but recomputed in the backward pass: 2 H R of it. Gradient checkpointing adds a forward pass of the layers.
Counted for every model involved: policy, reference, critic (which has no output layer). Not counted: validation,
evaluation, embedding look-ups, norms, and the optimiser's arithmetic. An engine that caches a prompt for several
samples computes less than the rollout's F. n is the mean of the step: if lengths differ, attention costs more.

Source: Kaplan et al. 2020, "Scaling Laws for Neural Language Models", arXiv 2001.08361, section 2.1 (2 P and 6 P).

Example: grpo on 1000 tokens, 400 of them responses: policy F(1000, 400) forward and its backward, rollout F(1000, 400).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tbrm_bench.weights import read_header
from tbrm_train.output.metrics_log import METRICS, TIMINGS, read_lines
from tbrm_train.recipes.rl_recipe import RlRecipe


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model's FLOPs depend on."""

    layer_weights: int  # P
    head_weights: int  # H
    num_layers: int  # L
    attention_width: int  # d


@dataclass(frozen=True, slots=True)
class Passes:
    """Passes of each model per trained token; `recomputed` are forward passes of gradient checkpointing."""

    policy_forward: int = 1
    policy_backward: int = 1
    reference_forward: int = 0
    critic_forward: int = 0
    critic_backward: int = 0
    recomputed: int = 0

    def __str__(self) -> str:
        """Return `policy 1F+1B, critic 2F+1B`."""
        parts = []
        for model in ("policy", "reference", "critic"):
            forward, backward = getattr(self, f"{model}_forward"), getattr(self, f"{model}_backward", 0)
            if forward:
                parts.append(f"{model} {forward}F" + (f"+{backward}B" if backward else ""))
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The costs of one training, or their means over several (memory: the maximum). NaN if nothing was logged."""

    steps: float
    generated_tokens: float
    trained_tokens: float
    forward_tokens: float  # tokens times passes, all models of the update
    backward_tokens: float
    rollout_flops: float
    update_flops: float
    rollout_s: float
    update_s: float
    sync_s: float
    memory_gib: float
    gpu_memory_gib: float

    @property
    def flops(self) -> float:
        """Floating-point operations of rollouts and updates."""
        return self.rollout_flops + self.update_flops

    @property
    def seconds(self) -> float:
        """Seconds of rollouts, updates and weight syncs."""
        return self.rollout_s + self.update_s + self.sync_s

    def as_json(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {**asdict(self), "flops": self.flops, "seconds": self.seconds}


def read_shape(model_dir: Path) -> Shape:
    """Return the shape of a Hugging Face folder with safetensors."""
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    layers = 0
    for file in sorted(model_dir.glob("*.safetensors")):
        for tensor in read_header(file):
            if len(tensor.shape) >= 2 and not tensor.name.endswith(("embed_tokens.weight", "lm_head.weight")):
                layers += math.prod(tensor.shape)
    width = heads * (config.get("head_dim") or hidden // heads)
    return Shape(layers, config["vocab_size"] * hidden, config["num_hidden_layers"], width)


def passes_of(recipe: RlRecipe) -> Passes:
    """Return the passes per update of a recipe, as `Learner` makes them."""
    needs = recipe.needs
    penalised, critic = needs.kl_in_reward > 0, int(needs.critic)
    return Passes(
        # One more before the updates if several move the policy, or if rewards need log-probabilities.
        policy_forward=1 + (needs.updates_per_batch > 1 or penalised),
        reference_forward=needs.reference + penalised,
        critic_forward=2 * critic,
        critic_backward=critic,
        recomputed=(1 + critic) * recipe.deepspeed.gradient_checkpointing,
    )


def forward_flops(shape: Shape, *, tokens: float, length: float) -> float:
    """Return the layers' FLOPs of a forward pass over tokens of trajectories of a mean length."""
    return (2 * shape.layer_weights + 2 * shape.num_layers * shape.attention_width * length) * tokens


def step_flops(shape: Shape, passes: Passes, recipe: RlRecipe, line: Mapping[str, Any]) -> tuple[float, float]:
    """Return the FLOPs of a step's rollout and of its update; 0 for a step without an update."""
    responses = line.get("tokens/generated", 0)
    tokens = line.get("tokens/trained", responses)
    length = line["tokens/trained"] / recipe.batch_size if "tokens/trained" in line else 0.0
    layers, head = forward_flops(shape, tokens=tokens, length=length), 2 * shape.head_weights * responses
    if "tokens/trained" not in line:
        return layers + head, 0.0
    gradient = 2 if recipe.optimizer.parameters == "all" else 1
    forward = passes.policy_forward + passes.reference_forward + passes.critic_forward + passes.recomputed
    policy = passes.policy_backward * (gradient * layers + (gradient + 1) * head)
    critic = passes.critic_backward * 2 * layers
    heads = (passes.policy_forward + passes.reference_forward) * head
    return layers + head, forward * layers + heads + policy + critic


def read_ledger(output: Path, recipe: RlRecipe, shape: Shape) -> Ledger:
    """Return the costs of the run in a folder, as far as it has logged."""
    metrics, timings, passes = read_lines(output / METRICS), read_lines(output / TIMINGS), passes_of(recipe)
    flops = [step_flops(shape, passes, recipe, line) for line in metrics]
    trained = _total(metrics, "tokens/trained")
    return Ledger(
        steps=sum(line["step"] > 0 for line in metrics),
        generated_tokens=_total(metrics, "tokens/generated"),
        trained_tokens=trained,
        forward_tokens=trained
        * (passes.policy_forward + passes.reference_forward + passes.critic_forward + passes.recomputed),
        backward_tokens=trained * (passes.policy_backward + passes.critic_backward),
        rollout_flops=sum(rollout for rollout, _ in flops),
        update_flops=sum(update for _, update in flops),
        rollout_s=_total(timings, "seconds/rollout"),
        update_s=_total(timings, "seconds/update"),
        sync_s=_total(timings, "seconds/sync"),
        memory_gib=_largest(timings, "memory_gib"),
        gpu_memory_gib=_largest(timings, "gpu_memory_gib"),
    )


def mean_ledger(ledgers: Sequence[Ledger]) -> Ledger:
    """Return the mean of each cost and the largest memory; NaN without ledgers."""
    values: dict[str, float] = {}
    for field in fields(Ledger):
        found = [getattr(ledger, field.name) for ledger in ledgers]
        combined = max(found, default=math.nan) if "memory" in field.name else sum(found) / (len(found) or math.nan)
        values[field.name] = combined
    return Ledger(**values)


def _total(lines: Iterable[Mapping[str, Any]], name: str) -> float:
    return sum(line.get(name) or 0 for line in lines)


def _largest(lines: Iterable[Mapping[str, Any]], name: str) -> float:
    return max((line[name] for line in lines if line.get(name) is not None), default=math.nan)
