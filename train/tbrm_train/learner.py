"""One batch of trajectories, one or more updates: score, advantages, loss, step.

Every process holds the whole batch's tokens and rewards, which are small, and computes on its share: micro-batches of
similar lengths, the same number on each. Advantages are computed from the whole batch everywhere. Losses are divided by
counts of the whole batch, so world size and micro-batches change a gradient by rounding alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tbrm_train.engine import FrozenModule, Processes, TrainingEngine
from tbrm_train.objectives import OBJECTIVES, MicroBatch, Objective, Tally
from tbrm_train.policy import TokenBatch, TokenScores, make_batch
from tbrm_train.rl_recipe import RlRecipe


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A rollout with its reward; `group` numbers the prompts of the batch."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    reward: float
    group: int

    @property
    def num_tokens(self) -> int:
        """Tokens that a forward pass computes."""
        return len(self.prompt) + len(self.response)


def plan_micro_batches(lengths: Sequence[int], *, world_size: int, max_tokens: int) -> list[list[list[int]]]:
    """Return for every process its micro-batches, as lists of indices; all processes have the same number.

    Neighbours have similar lengths, so little is padded; padded tokens of one stay within `max_tokens` unless one
    trajectory alone exceeds it. With fewer trajectories than processes, some micro-batches are empty.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    micro: list[list[int]] = []
    for index in order:
        if micro and (len(micro[-1]) + 1) * lengths[micro[-1][0]] <= max_tokens:
            micro[-1].append(index)
        else:
            micro.append([index])
    while len(micro) % world_size:
        largest = max(range(len(micro)), key=lambda place: len(micro[place]))
        whole = micro[largest]
        half = len(whole) // 2
        micro[largest : largest + 1] = [whole[half:], whole[:half]]
    micro.sort(key=lambda item: -sum(lengths[index] for index in item))
    return [micro[rank::world_size] for rank in range(world_size)]


class Learner:
    """The policy in training, and what its algorithm needs beside it."""

    def __init__(self, recipe: RlRecipe, processes: Processes, policy: TrainingEngine) -> None:
        """Take the policy over; reference and critic are set by who builds it."""
        self.recipe = recipe
        self.processes = processes
        self.policy = policy
        self.objective: Objective = OBJECTIVES[recipe.algorithm.name]
        self.reference: FrozenModule | None = None
        self.critic: TrainingEngine | None = None
        self.tied_name = tied_name(policy.module.model)

    def learn(self, trajectories: Sequence[Trajectory], *, step: int) -> dict[str, float]:
        """Update on a whole batch, the same in every process; return the step's metrics."""
        tally = Tally()
        norms = []
        plan = self._plan(trajectories)
        num_tokens = sum(len(item.response) for item in trajectories)
        self.policy.module.train()
        for number, indices in enumerate(plan):
            chosen = [trajectories[index] for index in indices] or [trajectories[0]]
            batch = make_batch([(t.prompt, t.response) for t in chosen], device=self.processes.device)
            reference = TokenScores(*self.reference(batch)) if self.reference else None
            scores = TokenScores(*self.policy(batch))
            micro = self._micro(batch, chosen, scores, reference, len(trajectories), num_tokens)
            loss = self.objective.loss(micro, self.recipe.algorithm, tally if indices else Tally())
            if not indices:
                loss = loss * 0.0
            tally.add("loss", loss[None])
            self.policy.backward(loss, last=number == len(plan) - 1)
        norms.append(self.policy.step(learning_rate=self.learning_rate(step)))
        means = self._means(tally)
        return means | {"grad_norm": norms[-1], "learning_rate": self.learning_rate(step)}

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step: linear warm-up, then the recipe's schedule down to zero after the last step."""
        settings = self.recipe.optimizer
        if step < settings.warmup_steps:
            return settings.learning_rate * (step + 1) / settings.warmup_steps
        progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
        shapes = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
        return settings.learning_rate * shapes[settings.schedule]

    def logprobs(self, sequences: Sequence[Any]) -> list[list[float]]:
        """Return the policy's log-probabilities at temperature 1 of (prompt, response) pairs."""
        self.policy.module.eval()
        temperature, self.policy.module.temperature = self.policy.module.temperature, 1.0
        batch = make_batch([(item.prompt, item.response) for item in sequences], device=self.processes.device)
        with torch.no_grad():
            scores = TokenScores(*self.policy(batch))
        self.policy.module.temperature = temperature
        return [part.tolist() for part in torch.split(scores.logprobs, list(batch.lengths))]

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the policy's weights under their Hugging Face names; all processes walk together."""
        for name, tensor in self.policy.parameters():
            name = name.removeprefix("model.")
            yield name, tensor
            # vLLM on a CPU keeps a packed copy of tied logits, which only this name refreshes.
            if name == self.tied_name:
                yield "lm_head.weight", tensor

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """Write everything that training goes on from; all processes call it."""
        self.policy.save(folder / "policy", state)
        if self.critic is not None:
            self.critic.save(folder / "critic", {})

    def load(self, folder: Path) -> dict[str, Any]:
        """Read what `save` wrote; return its `state`."""
        if self.critic is not None:
            self.critic.load(folder / "critic")
        return self.policy.load(folder / "policy")

    def close(self) -> None:
        """Free the engines."""
        self.policy.close()
        if self.critic is not None:
            self.critic.close()

    def _plan(self, trajectories: Sequence[Trajectory]) -> list[list[int]]:
        plan = plan_micro_batches(
            [item.num_tokens for item in trajectories],
            world_size=self.processes.world_size,
            max_tokens=self.recipe.deepspeed.micro_batch_tokens,
        )
        return plan[self.processes.rank]

    def _micro(
        self,
        batch: TokenBatch,
        chosen: Sequence[Trajectory],
        scores: TokenScores,
        reference: TokenScores | None,
        num_trajectories: int,
        num_tokens: int,
    ) -> MicroBatch:
        rewards = torch.tensor([item.reward for item in chosen], device=self.processes.device)
        micro = MicroBatch(
            scores, batch.rows, rewards, reference.logprobs if reference else None, None,
            scores.logprobs.detach(), None, num_trajectories, num_tokens,
        )  # fmt: skip
        if reference is None:
            return micro
        import dataclasses

        return dataclasses.replace(micro, ref_values=micro.first(reference.logsumexp))

    def _means(self, tally: Tally) -> dict[str, float]:
        names = sorted(tally.sums)
        table = torch.tensor([[tally.sums[name], tally.counts[name]] for name in names], dtype=torch.float64)
        if self.processes.world_size > 1:
            table = table.to(self.processes.device)
            torch.distributed.all_reduce(table)
        means = {name: float(s / c) if c else math.nan for name, (s, c) in zip(names, table.tolist(), strict=True)}
        means["loss"] = float(table[names.index("loss"), 0])
        return means


def tied_name(model: Any) -> str | None:
    """Return the name of the input embeddings if the output layer shares their weights."""
    head, embeddings = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if head is not embeddings:
        return None
    return next(str(name) for name, parameter in model.named_parameters() if parameter is embeddings)
