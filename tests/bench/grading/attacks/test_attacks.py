"""None of the ways to be paid without knowing the answer is paid, against golds of every kind.

What counts as paid: a verdict `correct` for a gold that the text does not determine (`tests/support/attacks.py`), or
`error`, by which a training would leave the sample out.
"""

from collections import Counter

import pytest
from attacks import Attack, attacks, questions

from tbrm_bench.grading import GraderPool, grade
from tbrm_bench.records import SampleKey, Status

# Every pair of these goes through a worker, some to its limit of time: one gold in SLOW_STEP in the default suite.
SLOW = ("exhausting", "very_long", "left_to_do", "congruences")
SLOW_STEP = 12
NOT_PAID = {Status.WRONG, Status.NO_ANSWER, Status.TRUNCATED, Status.TIMEOUT}


def paid(chosen: list[tuple[int, int]], *, strict_boxed: bool, time_limit_s: float) -> list[str]:
    """Grade pairs of attack and question; return those that pay, each with the gold and the rule that was bought."""
    found = []
    with GraderPool(strict_boxed=strict_boxed, time_limit_s=time_limit_s) as pool:
        for number, key in chosen:
            attack, question = attacks()[number], questions()[key]
            text = attack.completion(question)
            pool.submit(SampleKey("attacks", str(number), key), text, question.gold, attack.finish)
        for (_, number_text, key), verdict in pool.drain(wait=True):
            if verdict.status not in NOT_PAID:
                attack = attacks()[int(number_text)]
                answers = ", ".join(questions()[key].answers)
                found.append(f"{attack.kind}.{attack.name} <- {answers} ({verdict.status.value}: {verdict.rule})")
    return sorted(found)


def is_slow(attack: Attack) -> bool:
    return attack.kind in SLOW


def test_the_suite_is_broad() -> None:
    kinds = Counter(attack.kind for attack in attacks())
    assert len(attacks()) >= 300
    assert len(kinds) >= 30
    assert max(kinds.values()) <= 15
    assert len({(attack.text, attack.finish) for attack in attacks()}) == len(attacks())


@pytest.mark.parametrize("question", questions(), ids=lambda question: question.answers[0])
def test_the_right_answer_alone_is_paid(question: object) -> None:
    """The control: every gold can be earned, and by no other gold's answer."""
    for other in questions():
        text = ", ".join(rf"\boxed{{{answer}}}" for answer in other.answers)
        status = grade(text, question.gold).status  # type: ignore[attr-defined]
        assert (status is Status.CORRECT) == (other is question), other.answers


@pytest.mark.parametrize("strict_boxed", [False, True])
def test_no_attack_is_paid(strict_boxed: bool) -> None:
    pairs = [
        (number, key)
        for number, attack in enumerate(attacks())
        for key, question in enumerate(questions())
        if not attack.determines(question)
        and (not is_slow(attack) or (key % SLOW_STEP == number % SLOW_STEP and not strict_boxed))
    ]
    assert paid(pairs, strict_boxed=strict_boxed, time_limit_s=0.5) == []


@pytest.mark.slow
def test_no_slow_attack_is_paid_by_any_gold() -> None:
    pairs = [
        (number, key)
        for number, attack in enumerate(attacks())
        for key, question in enumerate(questions())
        if is_slow(attack) and not attack.determines(question)
    ]
    assert paid(pairs, strict_boxed=False, time_limit_s=5.0) == []
