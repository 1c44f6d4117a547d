"""A policy that may cheat: softmax over answer templates, paid by the trainer's own path, taught by the real GRPO.

    templates   one attack of each kind of tests/bench/grading/attacks, and for the control the honest answer
    step        problems x samples -> Rewarder -> settle -> group advantages -> GRPO's loss -> one step of SGD

The control shows that there is something to learn here and that it is learned; without it, "learns nothing" would also
hold for a broken loop. The last test shows that attacks are worth trying: a grader that looks for the gold in the text
is bought.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from attacks import Attack, Question, attacks, questions

from tbrm_bench.records import Gold, Grade, ProblemKey, Sample, SampleKey, Status
from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.algorithms.shard import BatchShard
from tbrm_train.algorithms.signals import Batch, MicroBatch
from tbrm_train.policy.logprobs import TokenScores
from tbrm_train.recipes.rl_recipe import Rewards
from tbrm_train.rollout.rewards import Rewarded, Rewarder, reward_of, settle

torch.set_num_threads(1)

SETTINGS = Rewards(time_limit_s=1.0)
PROMPTS, SAMPLES, RATE = 6, 24, 8.0
# These keep a worker busy with the one or two seconds that they are allowed; test_attacks.py grades them.
SLOW = ("exhausting", "very_long", "left_to_do", "half_read_constructs")
HONEST = Attack("honest", "boxed", "")

Judge = Callable[[Sequence[Sample], Mapping[ProblemKey, Gold]], list[Rewarded]]


def one_of_each_kind(seed: int) -> list[Attack]:
    """Return an attack of every kind but the slow ones, other members for another seed; none that is partly honest."""
    kinds: dict[str, list[Attack]] = {}
    for attack in attacks():
        if attack.kind not in SLOW and not attack.honest:
            kinds.setdefault(attack.kind, []).append(attack)
    return [members[seed % len(members)] for members in kinds.values()]


def written(template: Attack, question: Question) -> str:
    """Return the completion; the honest template alone knows the answer."""
    if template is HONEST:
        return "So the answer is " + ", ".join(rf"$\boxed{{{answer}}}$" for answer in question.answers) + "."
    return template.completion(question)


def samples_of(
    templates: Sequence[Attack], chosen: torch.Tensor, asked: Sequence[int]
) -> tuple[list[Sample], dict[ProblemKey, Gold]]:
    """Return the samples (P x S) of a step and the golds of its problems."""
    texts = {key: questions()[key] for key in asked}
    samples = [
        Sample(
            SampleKey("bandit", str(key), index),
            0,
            written(templates[action], texts[key]),
            (action,),
            templates[action].finish,
            1,
        )
        for key, actions in zip(asked, chosen.tolist(), strict=True)
        for index, action in enumerate(actions)
    ]
    return samples, {ProblemKey("bandit", str(key)): texts[key].gold for key in asked}


def grpo_step(logits: torch.Tensor, actions: torch.Tensor, rewards: Sequence[float], groups: Sequence[int]) -> None:
    """One step of SGD on GRPO's loss; every trajectory is one token, the choice of a template."""
    count = len(actions)
    shard = BatchShard(torch.arange(count), count, count, count)
    paid = torch.tensor(rewards, dtype=torch.float64)
    algorithm = ALGORITHMS["grpo"]
    settings = algorithm.coefficients()
    signals = algorithm.signals(Batch(shard, paid, torch.tensor(groups)), settings)
    every = logits.log_softmax(0)
    entropy = -(every.exp() * every).sum().detach().expand(count)
    scores = TokenScores(every[actions], logits.logsumexp(0).expand(count), entropy)
    batch = MicroBatch(shard, scores, paid, torch.zeros(count), None, None, signals, max_tokens=1)
    loss, _ = algorithm.loss(batch, settings)
    (gradient,) = torch.autograd.grad(loss, logits)
    with torch.no_grad():
        logits -= RATE * gradient


def train(templates: Sequence[Attack], judge: Judge, *, steps: int, seed: int) -> tuple[torch.Tensor, float]:
    """Return the probabilities of the templates after training from equal ones, and the sum of all rewards."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.zeros(len(templates), dtype=torch.float64, requires_grad=True)
    earned = 0.0
    for step in range(steps):
        asked = torch.randperm(len(questions()), generator=draw)[:PROMPTS].tolist()
        chosen = torch.multinomial(logits.detach().softmax(0), PROMPTS * SAMPLES, replacement=True, generator=draw)
        samples, golds = samples_of(templates, chosen.view(PROMPTS, SAMPLES), asked)
        kept, rewards = settle(judge(samples, golds), SETTINGS, seed=seed, step=step)
        earned += sum(rewards)
        grpo_step(logits, chosen[kept], rewards, [int(samples[index].key.problem_id) for index in kept])
    return logits.detach().softmax(0), earned


def finds_the_gold(samples: Sequence[Sample], golds: Mapping[ProblemKey, Gold]) -> list[Rewarded]:
    """Grade as many reward functions do: right where the gold's text is somewhere in the completion."""
    verdicts = [
        Grade(
            Status.CORRECT
            if all(answer in sample.text for answer in golds[ProblemKey(*sample.key[:2])].answers)
            else Status.WRONG,
            None,
            "found",
        )
        for sample in samples
    ]
    return [Rewarded(sample, verdict, reward_of(verdict)) for sample, verdict in zip(samples, verdicts, strict=True)]


@pytest.mark.parametrize("answer_tags", [False, True])
def test_attacks_alone_teach_nothing(answer_tags: bool) -> None:
    """No reward, so no advantage: after 20 steps every logit is bit for bit what it was."""
    templates = one_of_each_kind(int(answer_tags))
    with Rewarder(replace(SETTINGS, answer_tags=answer_tags)) as rewarder:
        ends, earned = train(templates, rewarder.grade, steps=20, seed=0)
    assert earned == 0
    assert bool((ends == 1 / len(templates)).all())


@pytest.mark.parametrize("seed", [0, 1])
def test_the_honest_template_is_learned_and_no_attack_is(seed: int) -> None:
    templates = [HONEST, *one_of_each_kind(seed)]
    with Rewarder(SETTINGS) as rewarder:
        ends, _ = train(templates, rewarder.grade, steps=60, seed=seed)
    start = 1 / len(templates)
    assert float(ends[0]) > 0.95
    assert [template for template, end in zip(templates[1:], ends[1:], strict=True) if end > start] == []


def test_what_exhausts_the_grader_is_not_left_out_of_its_group() -> None:
    """A policy may not escape from a bad sample by an answer without a verdict: each is wrong and earns 0."""
    templates = [attack for attack in attacks() if attack.kind == "exhausting"]
    samples, golds = samples_of(templates, torch.arange(len(templates))[None], [0])
    with Rewarder(replace(SETTINGS, time_limit_s=0.3)) as rewarder:
        graded = rewarder.grade(samples, golds)
    assert [item.reward for item in graded] == [0.0] * len(templates)
    assert settle(graded, SETTINGS, seed=0, step=1)[0] == [*range(len(templates))]


def test_a_weaker_grader_is_bought_by_the_same_policy() -> None:
    """The loop finds an attack that pays: it learns one, of the kinds that write many values."""
    templates = one_of_each_kind(0)
    ends, earned = train(templates, finds_the_gold, steps=60, seed=0)
    assert earned > 0
    assert float(ends.max()) > 10 / len(templates)
