"""One batch of trajectories, one or more updates: score, advantages, loss, step.

Every process holds the whole batch's tokens and rewards, which are small, and computes on its share: micro-batches of
similar lengths, the same number on each. Advantages come from the whole batch everywhere. Losses are divided by counts
of the whole batch, so world size and micro-batches change a gradient by rounding alone.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.algorithms.advantages import group_metrics
from tbrm_train.algorithms.share import Mean, Metrics, Share, add_metrics, mean
from tbrm_train.algorithms.signals import MicroBatch, Trajectory
from tbrm_train.learner.deepspeed_engine import FrozenModule, Processes, TrainingEngine
from tbrm_train.learner.finite_numbers import is_finite
from tbrm_train.learner.known import Known, whole_batch
from tbrm_train.learner.micro_batches import plan_micro_batches, split_batch
from tbrm_train.learner.ranks import gather, gather_by_place, sum_all
from tbrm_train.output.checkpoint import diverged
from tbrm_train.policy.policy import TokenScores, make_batch
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.rollout.sampling import Continuation


class Learner:
    """The policy in training, and what its algorithm needs beside it."""

    def __init__(self, recipe: RlRecipe, processes: Processes, policy: TrainingEngine) -> None:
        """Take the policy over; reference and critic are set by who builds it."""
        self.recipe = recipe
        self.processes = processes
        self.policy = policy
        self.algorithm, self.needs = ALGORITHMS[recipe.algorithm.name], recipe.needs
        self.reference: FrozenModule | None = None
        self.critic: TrainingEngine | None = None
        self.tied_name = tied_name(policy.module.model)

    def learn(self, trajectories: Sequence[Trajectory], *, step: int, spent: float = 0.0) -> dict[str, float]:
        """Update on a whole batch, the same in every process; return the step's metrics.

        `spent` is the share of the budget that went into the steps before; the schedule falls with it. Raises
        Diverged, before the weights change, if loss or gradients are not finite in any process.
        """
        told, norms = [group_metrics_once(trajectories, self.processes)], []
        parts = split_batch(len(trajectories), self.needs.updates_per_batch)
        known = self._prepare(trajectories, parts)
        for part in parts:
            told += self._accumulate(trajectories, part, known, step)
            norms.append(self._update("policy", self.recipe.optimizer.learning_rate, step, spent))
            if self.critic is not None:
                norm = self._update("critic", self.recipe.optimizer.critic_learning_rate, step, spent)
                told.append({"critic/grad_norm": mean(torch.tensor([norm]))})
        resets = self.needs.reference_reset_every
        if self.reference is not None and resets is not None and step % resets == 0:
            self.reference.copy_from(self.policy)
        return {
            **self._total(add_metrics(told)),
            "grad_norm": sum(norms) / len(norms),
            "learning_rate": self._rate(self.recipe.optimizer.learning_rate, step, spent),
        }

    def _prepare(self, trajectories: Sequence[Trajectory], parts: Sequence[Sequence[int]]) -> Known:
        """Score the batch before its first update, as far as the algorithm needs it."""
        critic, reference, kl_in_reward = self.critic, self.reference, self.needs.kl_in_reward
        penalised = kl_in_reward > 0
        old: dict[int, Tensor] = {}
        values: dict[int, Tensor] = {}
        penalties: dict[int, Tensor] = {}
        if len(parts) > 1 or critic is not None or penalised:
            with torch.no_grad():
                for micro in self._plan(trajectories, range(len(trajectories))):
                    batch = make_batch(_pairs(trajectories, micro or [0]), device=self.processes.device)
                    if len(parts) > 1 or penalised:
                        logprobs = self._score(batch).logprobs
                        old |= _by_place(micro, logprobs, batch.lengths)
                        if penalised and reference is not None:
                            log_ratio = logprobs - TokenScores(*reference(batch)).logprobs
                            penalties |= _by_place(micro, kl_in_reward * log_ratio, batch.lengths)
                    if critic is not None:
                        values |= _by_place(micro, critic(batch), batch.lengths)
        everything = partial(gather_by_place, count=len(trajectories), processes=self.processes)
        whole = whole_batch(
            trajectories,
            values=everything(values) if critic is not None else None,
            penalties=everything(penalties) if penalised else None,
        )
        lengths = [len(item.response) for item in trajectories]
        return Known(
            whole,
            self.algorithm.signals(whole, self.recipe.algorithm),
            torch.cat(everything(old)) if len(parts) > 1 else None,
            torch.split(torch.arange(sum(lengths)), lengths),
        )

    def _accumulate(
        self, trajectories: Sequence[Trajectory], part: Sequence[int], known: Known, step: int
    ) -> list[Metrics]:
        """Add up the gradients of one update; raises Diverged if they or the loss are not finite in any process."""
        plan = self._plan(trajectories, part)
        num_tokens = sum(len(trajectories[place].response) for place in part)
        told: list[Metrics] = []
        total = 0.0
        for number, micro in enumerate(plan):
            # A process without work computes on one trajectory that counts nothing, since all must take part.
            places, weight, is_last = micro or [part[0]], 1.0 if micro else 0.0, number == len(plan) - 1
            batch = make_batch(_pairs(trajectories, places), device=self.processes.device)
            share, numbers = (
                Share(batch.rows, len(places), len(part), num_tokens),
                known.of(places, self.processes.device),
            )
            inputs = MicroBatch(
                share=share,
                reference=TokenScores(*self.reference(batch)) if self.reference is not None else None,
                scores=self._score(batch),
                rewards=numbers.whole.rewards,
                optimal_values=self._optimal_values(trajectories, places),
                old_logprobs=numbers.old_logprobs,
                signals=numbers.signals,
                max_tokens=self.recipe.rollout.max_tokens,
                old_values=numbers.whole.values,
            )
            loss, metrics = self.algorithm.loss(inputs, self.recipe.algorithm)
            metrics["entropy"] = mean(inputs.scores.entropy)
            total += float(loss.detach()) * weight
            self.policy.backward(loss * weight, last=is_last)
            if self.critic is not None:
                assert self.algorithm.critic_loss is not None
                critic_loss, more = self.algorithm.critic_loss(self.critic(batch), inputs, self.recipe.algorithm)
                metrics |= more
                total += float(critic_loss.detach()) * weight
                self.critic.backward(critic_loss * weight, last=is_last)
            told += [metrics] if micro else []
        # A sum over processes, of every update: not a mean.
        told.append({"loss": Mean(torch.tensor(total).double(), torch.tensor(1 / self.processes.world_size))})
        self._check(total, told, step)
        return told

    def _check(self, loss: float, told: Sequence[Metrics], step: int) -> None:
        """Raise Diverged, in all processes, if one of them has met a number that is not finite."""
        mine = (loss, {name: engine.alarm.take() for name, engine in self._engines().items()})
        everyone = gather([mine], self.processes)
        total = sum(part for part, _ in everyone)
        broken = {name: sorted({key for _, found in everyone for key in found[name]}) for name in self._engines()}
        named = [f"{keys[0].removeprefix('model.')} of the {name}" for name, keys in broken.items() if keys]
        if math.isfinite(total) and not named:
            return
        what = f"the loss of step {step} is {total}"
        if math.isfinite(total):
            what = f"in step {step} the gradient of {' and '.join(named)} is not finite, while the loss is {total:.4g}"
        terms = self._total(add_metrics(told))
        raise diverged(self.recipe, what, {"loss": total, "terms": terms, "not_finite": broken})

    def _update(self, name: str, peak: float, step: int, spent: float) -> float:
        """Let an engine step; return the norm of its gradients. Raises Diverged, before it moves, if that is no number.

        Gradients that are finite one by one can still be too large to be squared and added.
        """
        norm = self._engines()[name].step(learning_rate=self._rate(peak, step, spent))
        if not math.isfinite(norm):
            what = f"the norm of the {name}'s gradients in step {step} is {norm}"
            raise diverged(self.recipe, what, {"norms": {name: norm}})
        return norm

    def _engines(self) -> dict[str, TrainingEngine]:
        return {"policy": self.policy} | ({} if self.critic is None else {"critic": self.critic})

    def check_weights(self, step: int) -> None:
        """Raise Diverged if trained weights are not finite, which a few probes need not see; all processes call it."""
        for name, engine in self._engines().items():
            trained = {key for key, parameter in engine.module.named_parameters() if parameter.requires_grad}
            broken = [key for key, entry in engine.entries() if key in trained and not is_finite(entry)]
            if broken:
                what = f"{broken[0].removeprefix('model.')} of the {name} is not finite after step {step}"
                raise diverged(self.recipe, what, {"weights_not_finite": {name: broken}})

    def _total(self, metrics: Metrics) -> dict[str, float]:
        """Return the means over all processes."""
        names = sorted(set(gather(sorted(metrics), self.processes, whole=True)))
        nothing = Mean(torch.zeros(()), torch.zeros(()))
        totals = sum_all([float(metrics.get(name, nothing).total) for name in names], self.processes)
        counts = sum_all([float(metrics.get(name, nothing).count) for name in names], self.processes)
        return {
            name: total / count if count else math.nan for name, total, count in zip(names, totals, counts, strict=True)
        }

    def _score(self, batch: Any) -> TokenScores:
        return TokenScores(*self.policy(batch))

    def _plan(self, trajectories: Sequence[Trajectory], part: Sequence[int]) -> list[list[int]]:
        """Return this process's micro-batches of a part, as places in the batch."""
        plan = plan_micro_batches(
            [trajectories[place].num_tokens for place in part],
            world_size=self.processes.world_size,
            max_tokens=self.recipe.deepspeed.micro_batch_tokens,
        )
        return [[part[index] for index in micro] for micro in plan[self.processes.rank]]

    def _optimal_values(self, trajectories: Sequence[Trajectory], places: Sequence[int]) -> Tensor:
        return torch.tensor([trajectories[place].optimal_value for place in places], device=self.processes.device)

    def _rate(self, peak: float, step: int, spent: float) -> float:
        """Return the rate of a step, 1 being the first: linear warm-up, then the schedule down to 0 after the last.

        Of the share of the steps and the share of the budget, the larger one says how far the training is.
        """
        settings, done = self.recipe.optimizer, step - 1
        if done < settings.warmup_steps:
            return peak * (done + 1) / settings.warmup_steps
        progress = max(spent, (done - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps))
        shapes = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
        return peak * shapes[settings.schedule]

    def logprobs(self, sequences: Sequence[Continuation]) -> list[list[float]]:
        """Return the policy's log-probability of every response token at temperature 1."""
        module = self.policy.module
        temperature, module.temperature = module.temperature, 1.0
        batch = make_batch([(item.prompt, item.response) for item in sequences], device=self.processes.device)
        try:
            with torch.no_grad():
                scores = self._score(batch)
        finally:
            module.temperature = temperature
        return [part.tolist() for part in torch.split(scores.logprobs, list(batch.lengths))]

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the policy's weights and stored buffers under their Hugging Face names; all processes walk together."""
        for entry, tensor in self.policy.entries():
            name = entry.removeprefix("model.")
            yield name, tensor
            # vLLM on a CPU keeps a packed copy of tied logits, which only this name refreshes.
            if name == self.tied_name:
                yield "lm_head.weight", tensor

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """Write everything that training goes on from; all processes call it."""
        self.policy.save(folder / "policy", state)
        if self.critic is not None:
            self.critic.save(folder / "critic", {})
        if self.reference is not None and self.needs.reference_reset_every is not None:
            self.reference.save(folder / "reference", is_first=self.processes.rank == 0)

    def load(self, folder: Path) -> dict[str, Any]:
        """Read what `save` wrote; return its `state`."""
        if self.critic is not None:
            self.critic.load(folder / "critic")
        if self.reference is not None and self.needs.reference_reset_every is not None:
            self.reference.load(folder / "reference")
        return self.policy.load(folder / "policy")

    def close(self) -> None:
        """Free the engines."""
        self.policy.close()
        if self.critic is not None:
            self.critic.close()


def tied_name(model: Any) -> str | None:
    """Return the name of the input embeddings if the output layer shares their weights."""
    head, embeddings = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if head is not embeddings:
        return None
    return next(str(name) for name, parameter in model.named_parameters() if parameter is embeddings)


def _pairs(trajectories: Sequence[Trajectory], places: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(trajectories[place].prompt, trajectories[place].response) for place in places]


def _by_place(places: Sequence[int], tokens: Tensor, lengths: Sequence[int]) -> dict[int, Tensor]:
    # A process without work has scored one trajectory that is nobody's.
    return dict(zip(places, torch.split(tokens.cpu(), list(lengths)), strict=bool(places)))


def group_metrics_once(trajectories: Sequence[Trajectory], processes: Processes) -> Metrics:
    """Return the metrics of the batch's groups, counted by one process: every one holds the whole batch."""
    if processes.rank > 0:
        return {}
    rewards, groups = [item.reward for item in trajectories], [item.group for item in trajectories]
    return group_metrics(torch.tensor(rewards), torch.tensor(groups))
