"""Rewards: only a right answer is paid, what could not be graded is left out and counted, the controls control."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.errors import RunFailed
from tbrm_bench.records import Gold, Grade, ProblemKey, Sample, SampleKey, Status
from tbrm_train.recipes.rl_recipe import Rewards
from tbrm_train.rollout.rewards import Rewarded, Rewarder, outcome_rates, reward_of, settle, shuffled

KEY = ProblemKey("t", "p")
statuses = st.lists(st.sampled_from(list(Status)), min_size=1, max_size=30)


def sample(text: str, index: int = 0, finish_reason: str = "stop") -> Sample:
    return Sample(SampleKey(*KEY, index), 0, text, (1,), finish_reason, 1)  # type: ignore[arg-type]


def rewarded(status: Status, index: int = 0) -> Rewarded:
    verdict = Grade(status, None, "gold:time_limit" if status is Status.ERROR else "")
    return Rewarded(sample("", index), verdict, reward_of(verdict))


def test_texts_are_paid_by_the_benchs_verdicts_in_their_order() -> None:
    texts = ["\\boxed{7}", "\\boxed{8}", "", "\\boxed{\\frac{14}{2}}", "\\boxed{7"]
    samples = [sample(text, index) for index, text in enumerate(texts)]
    samples.append(sample("and so", len(texts), "length"))
    with Rewarder(Rewards()) as rewarder:
        graded = rewarder.grade(samples, {KEY: Gold(("7",), kind="integer")})
    assert [item.sample for item in graded] == samples
    assert [item.reward for item in graded][:4] == [1.0, 0.0, 0.0, 1.0]
    assert [item.grade.status for item in graded][2::3] == [Status.NO_ANSWER, Status.TRUNCATED]


@pytest.mark.parametrize(
    ("settings", "paid"),
    [
        (Rewards(), [1, 0, 0, 0, 0]),
        (Rewards(answer_tags=True), [1, 1, 0, 0, 0]),
        (Rewards(strict_boxed=False), [1, 1, 1, 1, 0]),
    ],
)
def test_the_recipe_decides_which_answers_are_paid(settings: Rewards, paid: list[float]) -> None:
    texts = ["\\boxed{7}", "<answer>7</answer>", "The answer is 7.", "7", "\\boxed{8} <answer>7</answer>"]
    with Rewarder(settings) as rewarder:
        graded = rewarder.grade([sample(text, index) for index, text in enumerate(texts)], {KEY: Gold(("7",))})
    assert [item.reward for item in graded] == paid


def test_an_answer_that_exhausts_the_grader_costs_its_reward_and_a_gold_that_does_is_left_out() -> None:
    endless = r"\int_0^\infty e^{e^{e^x}}dx"
    settings = Rewards(time_limit_s=1.0)
    with Rewarder(settings) as rewarder:
        (hostile,) = rewarder.grade([sample(rf"\boxed{{{endless}}}")], {KEY: Gold(("7",))})
        (honest,) = rewarder.grade([sample(r"\boxed{7}")], {KEY: Gold((endless,))})
    assert (hostile.grade.status, hostile.grade.rule, hostile.reward) == (Status.WRONG, "time_limit", 0.0)
    assert (honest.grade.status, honest.grade.rule, honest.decided) == (Status.ERROR, "gold:time_limit", False)
    assert settle([hostile, hostile, honest], Rewards(max_failed_share=0.4), seed=0, step=1) == ([0, 1], [0.0, 0.0])
    rates = outcome_rates([hostile, honest])
    assert (rates["outcome/timeout"], rates["outcome/wrong"], rates["outcome/error"]) == (0.5, 0.0, 0.5)


@given(statuses)
def test_only_errors_are_neither_paid_nor_counted_wrong(found: list[Status]) -> None:
    batch = [rewarded(status, index) for index, status in enumerate(found)]
    undecided = [item for item in batch if item.grade.status is Status.ERROR]
    if len(undecided) == len(batch):
        return
    kept, rewards = settle(batch, Rewards(max_failed_share=1.0), seed=0, step=1)
    assert len(kept) == len(batch) - len(undecided)
    assert rewards == [float(batch[index].grade.status is Status.CORRECT) for index in kept]
    assert not any(math.isnan(reward) for reward in rewards)
    rates = outcome_rates(batch)
    assert math.isclose(sum(rates.values()), 1.0)
    assert all(rates[f"outcome/{status}"] == found.count(status) / len(found) for status in Status)


@pytest.mark.parametrize(("failed", "stops"), [(2, False), (3, True), (10, True)])
def test_a_grader_that_fails_too_often_stops_the_run(failed: int, stops: bool) -> None:
    batch = [rewarded(Status.ERROR if index < failed else Status.WRONG, index) for index in range(10)]
    if not stops:
        assert len(settle(batch, Rewards(), seed=0, step=4)[0]) == 10 - failed
        return
    with pytest.raises(RunFailed) as error:
        settle(batch, Rewards(), seed=0, step=4)
    assert f"step 4: {failed} of 10 answers could not be graded (gold:time_limit {failed})" in str(error.value)
    assert "rewards.time_limit_s=5.0" in str(error.value)


@given(statuses, st.integers(0, 5), st.integers(0, 5))
def test_shuffled_rewards_are_the_same_ones_elsewhere(found: list[Status], seed: int, step: int) -> None:
    batch = [rewarded(status, index) for index, status in enumerate([*found, Status.CORRECT])]
    plain = settle(batch, Rewards(max_failed_share=1.0), seed=seed, step=step)
    dealt = settle(batch, Rewards(max_failed_share=1.0, shuffle=True), seed=seed, step=step)
    flipped = settle(batch, Rewards(max_failed_share=1.0, flip=True), seed=seed, step=step)
    assert plain[0] == dealt[0] == flipped[0]
    assert Counter(plain[1]) == Counter(dealt[1])
    assert [1 - reward for reward in flipped[1]] == plain[1]


def test_a_shuffle_is_another_one_at_each_step_and_hits_about_one_place() -> None:
    deals = [shuffled(100, seed=0, step=step) for step in range(200)]
    assert all(sorted(deal) == list(range(100)) for deal in deals)
    fixed = sum(source == index for deal in deals for index, source in enumerate(deal)) / len(deals)
    assert abs(fixed - 1.0) < 0.35  # a random permutation has one fixed point on average, with variance 1
