"""One batch of trajectories, one or more updates: score, advantages, loss, step.

Every process holds the tokens and rewards of the whole batch, which are small, and computes its shard: micro-batches of
similar lengths, the same number per process. Advantages are computed over the whole batch in every process. Losses are
normalised by counts of the whole update, so world size and micro-batches change gradients only by rounding.
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
from tbrm_train.algorithms.shard import BatchShard, Mean, Metrics, add_metrics, mean
from tbrm_train.algorithms.signals import MicroBatch, Trajectory
from tbrm_train.learner.batch import ScoredBatch, collate
from tbrm_train.learner.deepspeed_engine import FrozenModule, Processes, TrainingEngine
from tbrm_train.learner.finite_numbers import is_finite
from tbrm_train.learner.micro_batches import plan_micro_batches, split_batch
from tbrm_train.learner.ranks import gather, gather_by_index, sum_all
from tbrm_train.output.checkpoint import diverged
from tbrm_train.policy.policy import TokenScores, make_batch
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.rollout.sampling import Continuation


class Learner:
    """The policy in training, and the models that its algorithm needs."""

    def __init__(self, recipe: RlRecipe, processes: Processes, policy: TrainingEngine) -> None:
        """Take over the policy; the caller sets reference and critic."""
        self.recipe = recipe
        self.processes = processes
        self.policy = policy
        self.algorithm, self.needs = ALGORITHMS[recipe.algorithm.name], recipe.needs
        self.reference: FrozenModule | None = None
        self.critic: TrainingEngine | None = None
        self.tied_name = tied_name(policy.module.model)

    def learn(self, trajectories: Sequence[Trajectory], *, step: int, spent: float = 0.0) -> dict[str, float]:
        """Update on a batch, which is the same in every process; return the metrics of the step.

        `spent` is the fraction of the budget spent by earlier steps; the schedule depends on it. Raises Diverged,
        before the weights change, if loss or gradients are not finite in any process.
        """
        metrics, norms = [group_metrics_once(trajectories, self.processes)], []
        parts = split_batch(len(trajectories), self.needs.updates_per_batch)
        scored = self._prepare(trajectories, parts)
        for part in parts:
            metrics += self._accumulate(trajectories, part, scored, step)
            norms.append(self._update("policy", self.recipe.optimizer.learning_rate, step, spent))
            if self.critic is not None:
                norm = self._update("critic", self.recipe.optimizer.critic_learning_rate, step, spent)
                metrics.append({"critic/grad_norm": mean(torch.tensor([norm]))})
        resets = self.needs.reference_reset_every
        if self.reference is not None and resets is not None and step % resets == 0:
            self.reference.copy_from(self.policy)
        return {
            **self._total(add_metrics(metrics)),
            "grad_norm": sum(norms) / len(norms),
            "learning_rate": self._rate(self.recipe.optimizer.learning_rate, step, spent),
        }

    def _prepare(self, trajectories: Sequence[Trajectory], parts: Sequence[Sequence[int]]) -> ScoredBatch:
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
                        old |= _by_index(micro, logprobs, batch.lengths)
                        if penalised and reference is not None:
                            log_ratio = logprobs - TokenScores(*reference(batch)).logprobs
                            penalties |= _by_index(micro, kl_in_reward * log_ratio, batch.lengths)
                    if critic is not None:
                        values |= _by_index(micro, critic(batch), batch.lengths)
        gather_all = partial(gather_by_index, count=len(trajectories), processes=self.processes)
        packed = collate(
            trajectories,
            values=gather_all(values) if critic is not None else None,
            penalties=gather_all(penalties) if penalised else None,
        )
        lengths = [len(item.response) for item in trajectories]
        return ScoredBatch(
            packed,
            self.algorithm.signals(packed, self.recipe.algorithm),
            torch.cat(gather_all(old)) if len(parts) > 1 else None,
            torch.split(torch.arange(sum(lengths)), lengths),
        )

    def _accumulate(
        self, trajectories: Sequence[Trajectory], part: Sequence[int], scored: ScoredBatch, step: int
    ) -> list[Metrics]:
        """Add up the gradients of one update; raises Diverged if they or the loss are not finite in any process."""
        plan = self._plan(trajectories, part)
        num_tokens = sum(len(trajectories[index].response) for index in part)
        found: list[Metrics] = []
        total = 0.0
        for number, micro in enumerate(plan):
            # A process without work computes one trajectory with loss weight 0, since all must take part.
            indices, loss_weight, is_last = micro or [part[0]], 1.0 if micro else 0.0, number == len(plan) - 1
            batch = make_batch(_pairs(trajectories, indices), device=self.processes.device)
            selected = scored.select(indices, self.processes.device)
            inputs = MicroBatch(
                shard=BatchShard(batch.segment_ids, len(indices), len(part), num_tokens),
                reference=TokenScores(*self.reference(batch)) if self.reference is not None else None,
                scores=self._score(batch),
                rewards=selected.batch.rewards,
                optimal_values=self._optimal_values(trajectories, indices),
                old_logprobs=selected.old_logprobs,
                signals=selected.signals,
                max_tokens=self.recipe.rollout.max_tokens,
                old_values=selected.batch.values,
            )
            loss, metrics = self.algorithm.loss(inputs, self.recipe.algorithm)
            metrics["entropy"] = mean(inputs.scores.entropy)
            total += float(loss.detach()) * loss_weight
            self.policy.backward(loss * loss_weight, last=is_last)
            if self.critic is not None:
                assert self.algorithm.critic_loss is not None
                critic_loss, more = self.algorithm.critic_loss(self.critic(batch), inputs, self.recipe.algorithm)
                metrics |= more
                total += float(critic_loss.detach()) * loss_weight
                self.critic.backward(critic_loss * loss_weight, last=is_last)
            found += [metrics] if micro else []
        # The loss is summed over processes, not averaged.
        found.append({"loss": Mean(torch.tensor(total).double(), torch.tensor(1 / self.processes.world_size))})
        self._check(total, found, step)
        return found

    def _check(self, loss: float, metrics: Sequence[Metrics], step: int) -> None:
        """Raise Diverged in all processes if the loss or a gradient is not finite in one of them."""
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
        terms = self._total(add_metrics(metrics))
        raise diverged(self.recipe, what, {"loss": total, "terms": terms, "not_finite": broken})

    def _update(self, name: str, peak: float, step: int, spent: float) -> float:
        """Step an engine; return its gradient norm. Raises Diverged, before the weights change, if that is not finite.

        Gradients that are each finite can still overflow when squared and summed.
        """
        norm = self._engines()[name].step(learning_rate=self._rate(peak, step, spent))
        if not math.isfinite(norm):
            what = f"the norm of the {name}'s gradients in step {step} is {norm}"
            raise diverged(self.recipe, what, {"norms": {name: norm}})
        return norm

    def _engines(self) -> dict[str, TrainingEngine]:
        return {"policy": self.policy} | ({} if self.critic is None else {"critic": self.critic})

    def check_weights(self, step: int) -> None:
        """Raise Diverged if trained weights are not finite, which the probe may miss; all processes call it."""
        for name, engine in self._engines().items():
            trained = {key for key, parameter in engine.module.named_parameters() if parameter.requires_grad}
            broken = [key for key, entry in engine.entries() if key in trained and not is_finite(entry)]
            if broken:
                what = f"{broken[0].removeprefix('model.')} of the {name} is not finite after step {step}"
                raise diverged(self.recipe, what, {"weights_not_finite": {name: broken}})

    def _total(self, metrics: Metrics) -> dict[str, float]:
        """Return the means over all processes."""
        names = sorted(set(gather(sorted(metrics), self.processes, concat=True)))
        nothing = Mean(torch.zeros(()), torch.zeros(()))
        totals = sum_all([float(metrics.get(name, nothing).total) for name in names], self.processes)
        counts = sum_all([float(metrics.get(name, nothing).count) for name in names], self.processes)
        return {
            name: total / count if count else math.nan for name, total, count in zip(names, totals, counts, strict=True)
        }

    def _score(self, batch: Any) -> TokenScores:
        return TokenScores(*self.policy(batch))

    def _plan(self, trajectories: Sequence[Trajectory], part: Sequence[int]) -> list[list[int]]:
        """Return this process's micro-batches of a part, as indices into the batch."""
        plan = plan_micro_batches(
            [trajectories[index].num_tokens for index in part],
            world_size=self.processes.world_size,
            max_tokens=self.recipe.deepspeed.micro_batch_tokens,
        )
        return [[part[index] for index in micro] for micro in plan[self.processes.rank]]

    def _optimal_values(self, trajectories: Sequence[Trajectory], indices: Sequence[int]) -> Tensor:
        return torch.tensor([trajectories[index].optimal_value for index in indices], device=self.processes.device)

    def _rate(self, peak: float, step: int, spent: float) -> float:
        """Return the learning rate of a step, from 1 on: linear warm-up, then the schedule down to 0 after the last.

        Progress is the fraction of the steps done or of the budget spent, whichever is larger.
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
        """Yield the policy's weights and stored buffers by their Hugging Face names; all processes call it together."""
        for entry, tensor in self.policy.entries():
            name = entry.removeprefix("model.")
            yield name, tensor
            # vLLM on a CPU keeps a packed copy of tied logits, which only this name refreshes.
            if name == self.tied_name:
                yield "lm_head.weight", tensor

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """Write everything that training resumes from; all processes call it."""
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


def _pairs(trajectories: Sequence[Trajectory], indices: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(trajectories[index].prompt, trajectories[index].response) for index in indices]


def _by_index(indices: Sequence[int], values: Tensor, lengths: Sequence[int]) -> dict[int, Tensor]:
    # A process without work has scored one trajectory whose values are dropped.
    return dict(zip(indices, torch.split(values.cpu(), list(lengths)), strict=bool(indices)))


def group_metrics_once(trajectories: Sequence[Trajectory], processes: Processes) -> Metrics:
    """Return the metrics of the batch's groups, counted by one process only, since all hold the whole batch."""
    if processes.rank > 0:
        return {}
    rewards, groups = [item.reward for item in trajectories], [item.group for item in trajectories]
    return group_metrics(torch.tensor(rewards), torch.tensor(groups))
