"""One update of TBRM, GRPO and PPO on fixed rollouts: seconds, tokens a second, MFU, peak memory.

    python benchmarks/train_step.py                                     # toy size on a CPU, a minute
    python benchmarks/train_step.py --size medium --repeats 2           # 99 million weights on a CPU
    python benchmarks/train_step.py --size 1.5b --device cuda           # Qwen2.5-1.5B's shape on a GPU

The learner, losses and models are the trainer's own, the coefficients those of the recipes for Qwen2.5-Math: all arms
keep a reference, and PPO a critic. Weights and trajectories are random, the same for all arms, each of which is a
process of its own. `grpo-naive` is GRPO with log_softmax of all logits in place of tiles.
`--engine plain` (the default on a GPU) needs torch and transformers alone: AdamW of torch, and for bfloat16 a float32
copy of weights and gradients, as DeepSpeed keeps them. `--engine deepspeed` is the trainer's own engine.

The first update, which pays for what is lazy, is left out; the fastest of the others counts. MFU divides the FLOPs that
`tbrm_train.comparison.ledger` counts by `--peak-tflops`, or else by the measured speed of a large product of matrices
in the same precision. Memory is the allocator's peak on a GPU; on a CPU that of resident pages: of the whole process,
and beyond what it held before the models.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from random_qwen2 import SIZES, make_model

ARMS = ("tbrm", "grpo", "grpo-naive", "ppo")
RECIPES = Path(__file__).resolve().parents[1] / "train" / "recipes"
# trajectories, tokens of each (a quarter of them prompt), tokens of a micro-batch
BATCHES = {"toy": (16, 256, 2048), "small": (4, 256, 512), "medium": (4, 256, 512), "1.5b": (32, 2048, 16384)}
MAX_GRAD_NORM = 1.0


class PlainEngine:
    """What the learner asks of an engine, by torch alone, in one process."""

    def __init__(self, module: Any, *, on_gpu: bool) -> None:
        """Take the module over; bfloat16 weights get a float32 copy, which gradients are added to at once."""
        import torch

        self.module = module
        self.weights = list(module.parameters())
        self.masters = self.weights
        if self.weights[0].dtype != torch.float32:
            self.masters = [weight.detach().float() for weight in self.weights]
            for weight, master in zip(self.weights, self.masters, strict=True):
                master.grad = torch.zeros_like(master)
                weight.register_post_accumulate_grad_hook(_adder(master))
        self.adam = torch.optim.AdamW(self.masters, fused=on_gpu)

    def __call__(self, batch: Any) -> Any:
        """Run the forward pass."""
        return self.module(batch)

    def backward(self, loss: Any, *, last: bool) -> None:
        """Add gradients."""
        loss.backward()

    def step(self, *, learning_rate: float) -> float:
        """Clip, update, forget the gradients; return their norm."""
        import torch

        for group in self.adam.param_groups:
            group["lr"] = learning_rate
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters, MAX_GRAD_NORM))
        self.adam.step()
        self.adam.zero_grad(set_to_none=self.masters is self.weights)
        if self.masters is not self.weights:
            with torch.no_grad():
                for weight, master in zip(self.weights, self.masters, strict=True):
                    weight.copy_(master)
        return norm

    def close(self) -> None:
        """Nothing is to be freed."""


def _adder(master: Any) -> Any:
    def add(weight: Any) -> None:
        master.grad += weight.grad
        weight.grad = None

    return add


def recipe_of(arm: str, options: argparse.Namespace) -> Any:
    """Return the recipe of an arm."""
    from tbrm_train.recipes import rl_recipe as parts
    from tbrm_train.recipes.rl_rules import load_rl_recipe

    count, tokens, micro = BATCHES[options.size]
    return parts.RlRecipe(
        kind="rl",
        output="nowhere",
        model="random",
        seed=0,
        prompts=parts.Prompts("nowhere", "quickstart"),
        algorithm=load_rl_recipe(RECIPES / f"qwen25-math-1.5b-{arm.removesuffix('-naive')}.toml").algorithm,
        rollout=parts.Rollout(count // 4, 4, tokens),
        optimizer=parts.Optimizer(steps=100, learning_rate=1e-6, max_grad_norm=MAX_GRAD_NORM),
        deepspeed=parts.DeepSpeed(
            dtype=options.dtype,
            micro_batch_tokens=micro,
            gradient_checkpointing=options.checkpointing,
            num_threads=options.threads,
        ),
    )


def make_learner(recipe: Any, options: argparse.Namespace) -> Any:
    """Return the trainer's own learner over random models."""
    from tbrm_train.learner.deepspeed_engine import FrozenModule, Processes, TrainingEngine, start_processes
    from tbrm_train.learner.learner import Learner
    from tbrm_train.policy.policy import Critic, Policy

    is_plain = options.engine == "plain"
    processes = Processes(0, 1, options.device) if is_plain else start_processes(recipe.deepspeed)

    def load() -> Any:
        return make_model(
            options.size,
            dtype=options.dtype,
            device=options.device,
            gradient_checkpointing=options.checkpointing,
        )

    def trained(module: Any) -> Any:
        module = module.to(options.device, next(module.parameters()).dtype)
        if is_plain:
            return PlainEngine(module, on_gpu=options.device != "cpu")
        return TrainingEngine(module, recipe.deepspeed, recipe.optimizer)

    learner = Learner(recipe, processes, trained(Policy(load(), temperature=1.0)))
    if recipe.needs.reference:
        learner.reference = FrozenModule(Policy(load(), temperature=1.0), recipe.deepspeed, options.device)
    if recipe.needs.critic:
        learner.critic = trained(Critic(load()))
    return learner


def trajectories_of(options: argparse.Namespace) -> list[Any]:
    """Return random trajectories, groups of four, every other one right."""
    import torch

    from tbrm_train.algorithms.signals import Trajectory

    count, tokens, _ = BATCHES[options.size]
    draw = torch.Generator().manual_seed(1)
    rows = torch.randint(SIZES[options.size][-1], (count, tokens), generator=draw).tolist()
    return [
        Trajectory(tuple(row[: tokens // 4]), tuple(row[tokens // 4 :]), float(place % 2), place // 4)
        for place, row in enumerate(rows)
    ]


def naive_scores(hidden: Any, weight: Any, targets: Any, *, temperature: float = 1.0) -> Any:
    """Return what `token_scores` does, from all logits in float32."""
    from tbrm_train.policy.logprobs import TokenScores

    logits = (hidden @ weight.T).float() / temperature
    log_pi = logits.log_softmax(dim=-1)
    chosen = log_pi.gather(1, targets[:, None])[:, 0]
    return TokenScores(chosen, logits.logsumexp(dim=-1), -(log_pi.exp() * log_pi).sum(dim=-1))


def measure(arm: str, options: argparse.Namespace) -> dict[str, float]:
    """Return the numbers of one arm, measured in this process."""
    import torch

    from tbrm_train.policy import policy

    on_gpu = options.device != "cpu"
    if options.threads:
        torch.set_num_threads(options.threads)
    if arm.endswith("-naive"):
        vars(policy)["token_scores"] = naive_scores
    recipe, trajectories = recipe_of(arm, options), trajectories_of(options)
    import transformers.models.qwen2.modeling_qwen2  # noqa: F401  part of what is held before the models

    before = 0.0 if on_gpu else _resident("VmRSS")
    learner = make_learner(recipe, options)
    seconds = []
    for step in range(1, options.repeats + 2):
        started = time.perf_counter()
        learner.learn(trajectories, step=step)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else _resident("VmHWM")
    del learner
    best, (count, tokens, _) = min(seconds[1:]), BATCHES[options.size]
    flops = update_flops(recipe, options.size)
    return {
        "seconds": best,
        "tokens_per_s": count * tokens / best,
        "mfu": flops / best / (options.peak_tflops * 1e12 or product_speed(options)),
        "peak_gib": peak,
        "beyond_gib": peak - before,
    }


def update_flops(recipe: Any, size: str) -> float:
    """Return the FLOPs of an update as the trainer's ledger counts them."""
    from tbrm_train.comparison.ledger import Shape, passes_of, step_flops

    hidden, intermediate, layers, heads, kv_heads, vocabulary = SIZES[size]
    attention = 2 * hidden * hidden + 2 * hidden * hidden * kv_heads // heads
    counted = Shape(layers * (attention + 3 * hidden * intermediate), vocabulary * hidden, layers, hidden)
    count, tokens, _ = BATCHES[size]
    line = {"tokens/generated": count * (tokens - tokens // 4), "tokens/trained": count * tokens}
    return step_flops(counted, passes_of(recipe), recipe, line)[1]


def product_speed(options: argparse.Namespace) -> float:
    """Return the FLOPs a second of a large product of matrices, the best of five."""
    import torch

    width = 2048 if options.device == "cpu" else 8192
    left = torch.randn(width, width, device=options.device, dtype=getattr(torch, options.dtype))
    best = math.inf
    for _ in range(5):
        started = time.perf_counter()
        left @ left
        if options.device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * width**3 / best


def _resident(name: str) -> float:
    """Return VmRSS or VmHWM of this process in GiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**20


def row(arm: str, found: dict[str, float], base: dict[str, float] | None) -> str:
    """Return one line of the table; saved is 1 - arm / base."""
    text = f"| {arm} | {found['seconds']:.2f} | {found['tokens_per_s']:,.0f} | {100 * found['mfu']:.0f} % "
    text += f"| {found['peak_gib']:.2f} | {found['beyond_gib']:.2f} |"
    names = ("seconds", "peak_gib", "beyond_gib")
    return text + "".join(f" {100 * (1 - found[name] / base[name]):.1f} % |" if base else " |" for name in names)


def main() -> None:
    """Run the arms one after another and print a Markdown table; saved is against PPO."""
    options = _options()
    if options.child:
        print(json.dumps(measure(options.child, options)))
        return
    weights = _num_weights(options.size)
    count, tokens, micro = BATCHES[options.size]
    print(f"{weights / 1e6:.0f} M weights, {options.dtype}, {options.engine} engine, {options.device}; ", end="")
    print(f"{count} trajectories of {tokens} tokens, micro-batches of {micro}\n")
    found: dict[str, dict[str, float]] = {}
    for arm in options.arms.split(","):
        command = [sys.executable, __file__, *sys.argv[1:], "--child", arm]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{arm} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        found[arm] = json.loads(done.stdout.splitlines()[-1])
    print("| arm | s | tokens/s | MFU | peak GiB | of it models | time saved | peak saved | of models saved |")
    print("|---|---|---|---|---|---|---|---|---|")
    for arm, numbers in found.items():
        print(row(arm, numbers, found.get("ppo")))


def _num_weights(size: str) -> int:
    hidden, intermediate, layers, heads, kv_heads, vocabulary = SIZES[size]
    attention = 2 * hidden * hidden + 2 * hidden * hidden * kv_heads // heads
    return layers * (attention + 3 * hidden * intermediate) + vocabulary * hidden


def _options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="toy")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="float32 on a CPU, bfloat16 on a GPU")
    parser.add_argument("--engine", choices=["plain", "deepspeed"], help="deepspeed on a CPU, plain on a GPU")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of a CPU; 0 is torch's own choice")
    parser.add_argument("--checkpointing", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="of the device, in place of a measured product")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    on_gpu = options.device == "cuda"
    options.dtype = options.dtype or ("bfloat16" if on_gpu else "float32")
    options.engine = options.engine or ("plain" if on_gpu else "deepspeed")
    options.threads = None if on_gpu or not options.threads else options.threads
    options.checkpointing = options.size == "1.5b" if options.checkpointing is None else options.checkpointing
    return options


if __name__ == "__main__":
    main()
