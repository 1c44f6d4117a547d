"""What the losses learn: the optimum of a table in closed form, the plateau of a small model, nothing from nonsense.

A toy curve is a regression test. It does not say which algorithm is better.
"""

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from tbrm_train.algorithms.astarpo import astarpo_loss, soft_value
from tbrm_train.algorithms.shard import BatchShard
from tbrm_train.algorithms.tbrm import reference_of, tbrm_loss

torch.set_num_threads(1)

# A table: 4 actions, 3 steps, 64 trajectories, one row of logits for each beginning of a trajectory.
ACTIONS, STEPS, BETA = 4, 3, 0.3
TRAJECTORIES = list(itertools.product(range(ACTIONS), repeat=STEPS))
STATES = [prefix for length in range(STEPS) for prefix in itertools.product(range(ACTIONS), repeat=length)]
VISITED = torch.tensor([STATES.index(path[:step]) for path in TRAJECTORIES for step in range(STEPS)])
CHOSEN = torch.tensor([action for path in TRAJECTORIES for action in path])
EVERY = BatchShard(torch.arange(64).repeat_interleave(STEPS), 64, 64, 64 * STEPS)


def table_scores(logits: Tensor) -> tuple[Tensor, Tensor]:
    values = logits.logsumexp(dim=1)
    return (logits - values[:, None])[VISITED, CHOSEN], values[VISITED]


def optimum(base: Tensor, rewards: Tensor) -> tuple[Tensor, float]:
    """Return log pi* of every trajectory, log ref + r / beta - V*, and V* in nats."""
    weights = EVERY.sum_tokens(table_scores(base)[0]) + rewards / BETA
    value = weights.logsumexp(0)
    return weights - value, float(value)


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    logits = start.clone().requires_grad_()
    search = torch.optim.LBFGS(
        [logits], max_iter=3000, tolerance_grad=1e-14, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def evaluate() -> Tensor:
        search.zero_grad()
        found = loss(logits)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    search.step(evaluate)  # type: ignore[no-untyped-call]
    return logits.detach()


def make_table(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits of a reference, logits to start from, and a reward of 0 or 1 for each trajectory."""
    draw = torch.Generator().manual_seed(seed)
    base, start = (torch.randn(len(STATES), ACTIONS, generator=draw, dtype=torch.float64) for _ in range(2))
    return base, start, torch.randint(2, (64,), generator=draw).double()


@pytest.mark.parametrize("center_value", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_off_policy_data_lead_to_the_closed_form(seed: int, center_value: bool) -> None:
    """All trajectories alike, none drawn by the policy: TBRM still ends at pi* and V*, from any start."""
    base, start, rewards = make_table(seed)
    reference = reference_of(*table_scores(base), shard=EVERY)

    def loss(logits: Tensor) -> Tensor:
        logprobs, logsumexp = table_scores(logits)
        return tbrm_loss(
            logprobs, logsumexp=logsumexp, reference=reference, rewards=rewards, shard=EVERY, beta=BETA,
            center_value=center_value,
        )[0]  # fmt: skip

    found = minimise(loss, start)
    log_pi, value = optimum(base, rewards)
    torch.testing.assert_close(EVERY.sum_tokens(table_scores(found)[0]), log_pi, rtol=0, atol=1e-7)
    offset = float(base[0].logsumexp(0)) if center_value else 0.0
    assert float(found[0].logsumexp(0)) - offset == pytest.approx(value, abs=1e-7)


def test_astarpo_with_the_true_value_leads_there_too_and_with_another_does_not() -> None:
    base, start, rewards = make_table(2)
    log_pi, value = optimum(base, rewards)
    log_ref = EVERY.sum_tokens(table_scores(base)[0])

    def ends_at(optimal: float) -> Tensor:
        values = torch.full((64,), optimal, dtype=torch.float64)

        def loss(logits: Tensor) -> Tensor:
            logprobs, _ = table_scores(logits)
            return astarpo_loss(
                logprobs, reference_logprob=log_ref, rewards=rewards, values=values, shard=EVERY, beta=BETA
            )[0]

        return EVERY.sum_tokens(table_scores(minimise(loss, start))[0])

    torch.testing.assert_close(ends_at(BETA * value), log_pi, rtol=0, atol=1e-7)
    assert float((ends_at(BETA * value + 0.2) - log_pi).abs().max()) > 0.05


def test_the_value_from_samples_is_the_true_one_in_the_mean() -> None:
    """V* = beta log E_ref exp(r / beta), by enumeration; of samples, exp(V / beta) is unbiased."""
    base, _, rewards = make_table(3)
    probability = EVERY.sum_tokens(table_scores(base)[0]).exp()
    _, value = optimum(base, rewards)
    # As many copies of each trajectory as its probability says, to one in 2^20.
    copies = (probability * 2**20).round().long().tolist()
    drawn = [float(reward) for reward, number in zip(rewards, copies, strict=True) for _ in range(number >> 8)]
    assert soft_value(drawn, beta=BETA) == pytest.approx(BETA * value, abs=1e-2)
    right = float(probability @ rewards)
    exact = BETA * math.log(right * math.exp(1 / BETA) + 1 - right)
    assert exact == pytest.approx(BETA * value, rel=1e-12)
    pairs = [
        (rewards[a], rewards[b], probability[a] * probability[b]) for a, b in itertools.product(range(64), repeat=2)
    ]
    unbiased = sum(float(p) * math.exp(soft_value([float(one), float(two)], beta=BETA) / BETA) for one, two, p in pairs)
    assert BETA * math.log(unbiased) == pytest.approx(exact, rel=1e-12)


def test_soft_values_lie_between_mean_and_maximum_at_every_beta() -> None:
    rewards = [1.0, 0.0, 0.0, 0.5]
    assert soft_value(rewards, beta=1e6) == pytest.approx(sum(rewards) / 4, abs=1e-5)
    assert soft_value(rewards, beta=1e-4) == pytest.approx(1.0, abs=1e-3)
    assert soft_value([0.3] * 5, beta=0.002) == pytest.approx(0.3, rel=1e-12)
    assert math.isnan(soft_value([], beta=0.5))


# A small model: write four digits backwards. One answer is right, so the regularised optimum is known.
PROMPTS = torch.cartesian_prod(*[torch.arange(10)] * 4)
GOLD = PROMPTS.flip(1)
BATCH, NOTHING_YET = 256, 10
ROLLOUTS = BatchShard(torch.arange(BATCH).repeat_interleave(4), BATCH, BATCH, 4 * BATCH)


class Reverser(nn.Module):
    """Logits of the next digit from the prompt and the digits so far; about 40,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(8 * 11, 16)
        self.layers = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.heads = nn.Linear(128, 40)

    def step(self, prompts: Tensor, answers: Tensor, step: int) -> Tensor:
        """Return logits (B, 10) of a digit; those of the answers from there on are not looked at."""
        later = torch.full((len(prompts), 4 - step), NOTHING_YET)
        digits = torch.cat([prompts, answers[:, :step], later], dim=1) + 11 * torch.arange(8)
        heads = slice(10 * step, 10 * step + 10)
        features = self.layers(self.embeddings(digits).flatten(1))
        return nn.functional.linear(features, self.heads.weight[heads], self.heads.bias[heads])

    def scores(self, prompts: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Return log pi and logsumexp of every digit, (4 B,) each."""
        logits = torch.stack([self.step(prompts, answers, step) for step in range(4)], dim=1).flatten(0, 1)
        values = logits.logsumexp(dim=1)
        return logits.gather(1, answers.flatten()[:, None])[:, 0] - values, values

    @torch.no_grad()
    def sample(self, prompts: Tensor, draw: torch.Generator) -> Tensor:
        answers = torch.zeros(len(prompts), 4, dtype=torch.long)
        for step in range(4):
            pi = self.step(prompts, answers, step).softmax(dim=1)
            answers[:, step] = torch.multinomial(pi, 1, generator=draw)[:, 0]
        return answers

    @torch.no_grad()
    def right(self) -> Tensor:
        """Return the probability of the right answer to every prompt (10000,): nothing is sampled."""
        return self.scores(PROMPTS, GOLD)[0].reshape(-1, 4).sum(1).exp()


@dataclass(frozen=True)
class Start:
    """A model that is right one time in five, and how often for each prompt."""

    model: Reverser
    right: Tensor

    def predicted(self, beta: float) -> float:
        """Return E_x[p e^(1/beta) / (1 - p + p e^(1/beta))]."""
        odds = self.right * math.exp(1 / beta)
        return float((odds / (1 - self.right + odds)).mean())


@pytest.fixture(scope="module")
def start() -> Start:
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(0)
    model = Reverser()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(55):
        chosen = torch.randint(len(PROMPTS), (BATCH,), generator=draw)
        optimizer.zero_grad()
        (-model.scores(PROMPTS[chosen], GOLD[chosen])[0].mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = Start(model, model.right())
    assert 0.15 < float(found.right.mean()) < 0.3
    return found


Reward = Callable[[Tensor, torch.Generator], Tensor]


def train(start: Start, *, beta: float, steps: int, rate: float = 3e-3, reward: Reward | None = None) -> list[float]:
    """Train by TBRM on policy; return how often the model is right after 80, 90 and 100 % of the steps."""
    model, draw = copy.deepcopy(start.model), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    curve = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        chosen = torch.randint(len(PROMPTS), (BATCH,), generator=draw)
        answers = model.sample(PROMPTS[chosen], draw)
        rewards = (answers == GOLD[chosen]).all(dim=1).float()
        with torch.no_grad():
            reference = reference_of(*start.model.scores(PROMPTS[chosen], answers), shard=ROLLOUTS)
        logprobs, logsumexp = model.scores(PROMPTS[chosen], answers)
        loss, _ = tbrm_loss(
            logprobs, logsumexp=logsumexp, reference=reference, shard=ROLLOUTS, beta=beta, center_value=True,
            rewards=rewards if reward is None else reward(rewards, draw),
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step + 1 in (steps * 8 // 10, steps * 9 // 10, steps):
            curve.append(float(model.right().mean()))
    return curve


@pytest.mark.parametrize("beta", [0.5, 0.25])
def test_training_reaches_the_predicted_plateau_and_stays(start: Start, beta: float) -> None:
    """The optimum is below 100 %: beta limits how far a correct answer may be preferred over the reference."""
    curve = train(start, beta=beta, steps=200)
    expected = start.predicted(beta)
    assert expected > float(start.right.mean()) + 0.3
    assert all(abs(right - expected) < 0.06 for right in curve), (curve, expected)


def shuffled(rewards: Tensor, draw: torch.Generator) -> Tensor:
    return rewards[torch.randperm(len(rewards), generator=draw)]


def flipped(rewards: Tensor, draw: torch.Generator) -> Tensor:
    return 1 - rewards


def test_no_learning_rate_no_learning(start: Start) -> None:
    assert set(train(start, beta=0.25, steps=10, rate=0.0)) == {float(start.right.mean())}


def test_rewards_that_mean_nothing_or_the_contrary_teach_nothing(start: Start) -> None:
    before = float(start.right.mean())
    learned, by_chance, contrary = (
        train(start, beta=0.25, steps=60, reward=reward)[-1] for reward in (None, shuffled, flipped)
    )
    assert learned > before + 0.2, "the same training learns from true rewards"
    assert by_chance < before + 0.05
    assert contrary < 0.7 * before
