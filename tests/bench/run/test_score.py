"""Laws of scoring: by hand, by any order, never by dividing away what is missing."""

import dataclasses
import math
import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.records import Gold, GradedSample, Problem, ProblemKey, SampleKey, Status, TaskScore
from tbrm_bench.run.score import macro_score, score_run, score_task

NAMES = ("a", "b", "c")


def same_number(answers: Sequence[Sequence[str]]) -> list[list[int]]:
    """Put answers into one class when they are the same number."""
    return [[int(Fraction(answer) * 1000) for answer in row] for row in answers]


def never_asked(answers: Sequence[Sequence[str]]) -> list[list[int]]:
    raise AssertionError("the votes of an incomplete task are not needed")


def sample(problem: str, index: int, status: Status | None, answer: str | None = None, **other: Any) -> GradedSample:
    values = {"finish_reason": "stop", "num_tokens": 10, **other}
    return GradedSample(SampleKey("toy", problem, index), status, answer, **values)


def score(samples: Iterable[GradedSample], num_samples: int, clusters: dict[str, str] | None = None) -> TaskScore:
    names = clusters or {name: name for name in NAMES}
    return score_task("toy", clusters=names, num_samples=num_samples, graded=samples, vote_classes=same_number)


right, wrong, none = Status.CORRECT, Status.WRONG, Status.NO_ANSWER
TOY = [
    sample("a", 0, right, "1/2", num_tokens=4),
    sample("a", 1, wrong, "7"),
    sample("a", 2, right, "0.5"),
    sample("a", 3, wrong, "8"),
    sample("b", 0, wrong, "3"),
    sample("b", 1, wrong, "3.0"),
    sample("b", 2, right, "4"),
    sample("b", 3, right, "4", finish_reason="length", num_tokens=99),
    sample("c", 0, none),
    sample("c", 1, Status.TRUNCATED, finish_reason="length"),
    sample("c", 2, Status.TIMEOUT, "9"),
    sample("c", 3, Status.ERROR),
]


def test_a_task_worked_out_by_hand() -> None:
    got = score(iter(TOY), 4)
    assert (got.num_problems, got.num_clusters, got.num_samples, got.num_missing, got.num_ungraded) == (3, 3, 4, 0, 0)
    assert got.avg == pytest.approx(1 / 3)
    assert got.se == pytest.approx(math.sqrt(2 * (1 / 6) ** 2 + (1 / 3) ** 2) / math.sqrt(6))
    assert got.sampling_sd == pytest.approx(math.sqrt(2 * 2 * 2 / (16 * 3)) / 3)
    assert got.pass_at == pytest.approx({1: 1 / 3, 2: (5 / 6 + 5 / 6) / 3, 3: 2 / 3, 4: 2 / 3})
    # a: one class of two votes, right; b: two classes tie, one right; c: the only vote is an answer that timed out.
    assert got.maj == pytest.approx((1 + 0.5 + 0) / 3)
    assert got.maj_se == pytest.approx(0.5 / math.sqrt(3))
    rates = {right: 4, wrong: 4, none: 1, Status.TRUNCATED: 1, Status.TIMEOUT: 1, Status.ERROR: 1}
    assert got.status_rates == pytest.approx({status: count / 12 for status, count in rates.items()})
    assert got.cap_rate == pytest.approx(2 / 12)
    assert got.mean_tokens == pytest.approx((4 + 99 + 10 * 10) / 12)
    assert got.max_tokens == 99


def test_an_answer_that_kept_the_grader_from_a_verdict_is_wrong_and_counted_apart() -> None:
    """Under `timeout`, where graders up to tbrm-2 stored it: the rates of old and new runs mean the same."""
    rules = ("time_limit", "memory_limit", "too_large", "undefined", "worker_crashed", "exception:ValueError")
    new = score([sample("a", 0, wrong, "7", rule="rational"), *(
        sample("a", index, wrong, "9", rule=rule) for index, rule in enumerate(rules, 1)
    )], 7, {"a": "a"})  # fmt: skip
    old = score([sample("a", 0, wrong, "7"), *(
        sample("a", index, Status.TIMEOUT, "9", rule=rule) for index, rule in enumerate(rules, 1)
    )], 7, {"a": "a"})  # fmt: skip
    assert repr(new) == repr(old)  # with its NaN
    assert new.status_rates[Status.TIMEOUT] == pytest.approx(6 / 7)
    assert new.status_rates[wrong] == pytest.approx(1 / 7)


def draw_task(seed: int, num_samples: int) -> list[GradedSample]:
    rng = random.Random(seed)
    return [
        sample(name, i, right if (answer := rng.choice(["1", "2", "2.0", "3", None])) == "1" else wrong, answer)
        for name in NAMES
        for i in range(num_samples)
    ]


@given(st.integers(), st.integers(1, 6), st.randoms())
@settings(max_examples=50)
def test_the_order_of_the_samples_does_not_matter(seed: int, num_samples: int, shuffler: random.Random) -> None:
    samples = draw_task(seed, num_samples)
    shuffled = samples[:]
    shuffler.shuffle(shuffled)
    assert repr(score(shuffled, num_samples)) == repr(score(samples, num_samples))


def near_the_first(answers: Sequence[Sequence[str]]) -> list[list[int]]:
    """Classes that depend on the order of the answers: each joins the first class whose first answer is within 1."""
    labels: list[list[int]] = []
    for row in answers:
        assert len(set(row)) == len(row)
        heads: list[float] = []
        labels.append([])
        for value in map(float, row):
            near = [i for i, head in enumerate(heads) if abs(value - head) <= 1]
            labels[-1].append(near[0] if near else len(heads))
            heads += [] if near else [value]
    return labels


@given(st.permutations(range(5)))
@settings(max_examples=30)
def test_not_even_when_the_equality_of_answers_is_not_transitive(order: list[int]) -> None:
    # The most frequent answer, 2, is asked first: 1, 2 and 3 are one class whatever the order of the samples.
    answers = [("2", wrong), ("2", wrong), ("1", wrong), ("3", right), ("3", right)]
    samples = [sample("a", i, answers[i][1], answers[i][0]) for i in order]
    got = score_task("toy", clusters={"a": "a"}, num_samples=5, graded=samples, vote_classes=near_the_first)
    assert got.maj == pytest.approx(2 / 5)


@given(st.integers(), st.integers(2, 6))
@settings(max_examples=50)
def test_the_scores_agree_among_each_other(seed: int, num_samples: int) -> None:
    got = score(draw_task(seed, num_samples), num_samples)
    assert got.pass_at[1] == got.avg
    assert got.pass_at_se[1] == got.se
    assert list(got.pass_at.values()) == sorted(got.pass_at.values())
    assert got.status_rates[right] == pytest.approx(got.avg)
    assert sum(got.status_rates.values()) == pytest.approx(1)
    assert got.ci_low <= got.avg <= got.ci_high
    assert got.maj <= got.pass_at[num_samples] + 1e-12


@given(st.integers())
@settings(max_examples=20)
def test_pass_at_k_is_the_mean_best_of_all_smaller_runs(seed: int) -> None:
    samples = draw_task(seed, 4)
    for k in (1, 2, 3):
        best = []
        for chosen in combinations(range(4), k):
            kept = [s for s in samples if s.key.sample_index in chosen]
            correct = {s.key.problem_id for s in kept if s.status is right}
            best.append(len(correct) / len(NAMES))
        assert score(samples, 4).pass_at[k] == pytest.approx(sum(best) / len(best))


def test_clusters_change_the_errors_and_nothing_else() -> None:
    apart = score(TOY, 4)
    together = score(TOY, 4, {"a": "twins", "b": "twins", "c": "c"})
    assert together.num_clusters == 2
    assert together.se > apart.se
    assert (together.avg, together.maj, together.pass_at) == (apart.avg, apart.maj, apart.pass_at)


def undefined_numbers(got: TaskScore) -> list[float]:
    fields = ("avg", "se", "ci_low", "ci_high", "sampling_sd", "maj", "maj_se", "cap_rate", "mean_tokens")
    numbers = [getattr(got, field) for field in fields]
    return [*numbers, *got.pass_at.values(), *got.pass_at_se.values(), *got.status_rates.values()]


@pytest.mark.parametrize("absent", [{0}, {3, 7}, set(range(12))])
def test_missing_samples_are_counted_and_never_divided_away(absent: set[int]) -> None:
    samples = [s for i, s in enumerate(TOY) if i not in absent]
    got = score_task("toy", clusters={n: n for n in NAMES}, num_samples=4, graded=samples, vote_classes=never_asked)
    assert (got.num_missing, got.num_ungraded) == (len(absent), 0)
    assert all(math.isnan(number) for number in undefined_numbers(got))
    assert set(got.pass_at) == {1, 2, 3, 4}


def test_a_problem_without_any_sample_is_missing() -> None:
    got = score(TOY, 4, {**{name: name for name in NAMES}, "d": "d"})
    assert got.num_missing == 4
    assert math.isnan(got.avg)


def test_samples_without_a_verdict_are_counted_apart() -> None:
    samples = [
        dataclasses.replace(s, status=None, extracted=None) if i in (1, 2) else s for i, s in enumerate(TOY[:-1])
    ]
    got = score(samples, 4)
    assert (got.num_missing, got.num_ungraded) == (1, 2)
    assert all(math.isnan(number) for number in undefined_numbers(got))


def test_a_task_without_problems_has_no_score() -> None:
    got = score_task("toy", clusters={}, num_samples=4, graded=[], vote_classes=same_number)
    assert (got.num_missing, got.num_clusters) == (0, 0)
    assert math.isnan(got.avg)
    assert math.isnan(macro_score([got]).avg)


def test_one_sample_of_one_problem_has_a_score_and_no_errors() -> None:
    got = score([sample("a", 0, right, "1")], 1, {"a": "a"})
    assert (got.avg, got.maj, got.pass_at) == (1, 1, {1: 1})
    assert all(math.isnan(x) for x in (got.se, got.ci_low, got.ci_high, got.sampling_sd, got.maj_se, got.pass_at_se[1]))


@pytest.mark.parametrize(
    "intruder",
    [
        sample("a", 0, right, "1"),  # a second time
        sample("a", 4, right, "1"),
        sample("a", -1, right, "1"),
        sample("nobody", 0, right, "1"),
        dataclasses.replace(TOY[0], key=SampleKey("other", "a", 0)),
    ],
)
def test_a_sample_that_is_not_of_the_task_is_refused(intruder: GradedSample) -> None:
    with pytest.raises(ValueError, match="is not one of the 4 samples"):
        score([*TOY, intruder], 4)


def test_the_macro_average_weighs_tasks_alike() -> None:
    small = score([sample("a", 0, right, "1"), sample("b", 0, wrong, "2")], 1, {"a": "a", "b": "b"})
    large = score(TOY, 4)
    macro = macro_score([small, large])
    assert macro.avg == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert macro.se == pytest.approx(math.hypot(small.se, large.se) / 2)
    assert macro.maj == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert macro.pass_at == pytest.approx({1: macro.avg})  # pass@2 is undefined for the small task
    alone = macro_score([large])
    assert (alone.avg, alone.se, dict(alone.pass_at)) == (large.avg, large.se, large.pass_at)
    assert (alone.ci_low, alone.ci_high) == pytest.approx((large.ci_low, large.ci_high))


def test_the_macro_average_needs_every_task() -> None:
    macro = macro_score([score(TOY, 4), score(TOY[1:], 4)])
    assert all(
        math.isnan(x) for x in (macro.avg, macro.se, macro.ci_low, macro.ci_high, macro.maj, *macro.pass_at.values())
    )


def test_a_run_is_scored_as_a_stream() -> None:
    """The samples come from a generator that holds none back, as the store's does."""
    alive, most_alive = 0, 0

    class Watched:
        def __init__(self, inner: GradedSample) -> None:
            nonlocal alive, most_alive
            alive += 1
            most_alive = max(most_alive, alive)
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    problems = [Problem(ProblemKey("toy", f"p{i}"), "?", Gold(("1",)), f"p{i}") for i in range(50)]

    def graded(task: str, grader: str) -> Any:
        assert (task, grader) == ("toy", "tbrm-1")
        for problem in problems:
            for i in range(20):
                yield Watched(sample(problem.key.problem_id, i, right if i % 2 else wrong, str(i % 2)))

    store: Any = SimpleNamespace(
        tasks=lambda: ["toy"],
        problems=lambda task: iter(problems),
        num_samples=lambda task: 20,
        graded=graded,
        run_dir=SimpleNamespace(name="a run"),
        lock_hash="123",
        about={"model": "m"},
    )
    result = score_run(store, grader="tbrm-1", vote_classes=same_number)
    assert (result.name, result.lock_hash, result.grader, dict(result.about)) == (
        "a run",
        "123",
        "tbrm-1",
        {"model": "m"},
    )
    assert (result.tasks[0].avg, result.tasks[0].maj, result.macro.avg) == (0.5, 0.5, 0.5)
    assert most_alive <= 2
