"""None of the ways to be paid without knowing the answer is paid, against golds of every kind.

What counts as paid: a verdict `correct` for a gold that the text does not determine (`tests/support/attacks.py`), or
`error`, by which a training would leave the sample out.
"""

import re
from collections import Counter
from functools import cache

import pytest
from attacks import Attack, Question, attacks, questions

from tbrm_bench.grading import GraderPool, grade
from tbrm_bench.records import SampleKey, Status

Pair = tuple[int, int]  # an attack and a question, by their numbers

PAID = {Status.CORRECT, Status.ERROR}
# Most of these go through a worker, some to its limit of time.
SLOW = ("exhausting", "very_long", "left_to_do", "half_read_constructs")
# In the default suite an attack meets the golds that it shares a number or a word with, and one of so many others; a
# slow one meets a single gold, the first that it shares something with.
STEP = 16
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_TOKEN = re.compile(r"\d+|[a-z]{3,}|\b[A-Z]\b")


def tokens(text: str) -> set[str]:
    return set(_TOKEN.findall(_COMMAND.sub(" ", text)))


def is_aimed(number: int, key: int) -> bool:
    """Whether an attack shares a number or a word with a gold that it does not determine."""
    attack, question = attacks()[number], questions()[key]
    shared = tokens(attack.completion(question)) & tokens(" ".join(question.answers))
    return bool(shared) and not attack.determines(question)


@cache
def only_gold(number: int) -> int:
    """Return the gold that a slow attack meets."""
    keys = range(len(questions()))
    return next((key for key in keys if is_aimed(number, key)), number % len(keys))


def is_chosen(number: int, key: int) -> bool:
    """Whether a pair is graded in the default suite."""
    if attacks()[number].kind in SLOW:
        return key == only_gold(number)
    return key % STEP == number % STEP or is_aimed(number, key)


def pairs() -> list[Pair]:
    return [
        (number, key)
        for number, attack in enumerate(attacks())
        for key, question in enumerate(questions())
        if not attack.determines(question)
    ]


def paid(chosen: list[Pair], *, strict_boxed: bool, time_limit_s: float) -> list[str]:
    """Grade pairs; return those that pay, each with the gold and the rule that was bought."""
    found = []
    with GraderPool(strict_boxed=strict_boxed, time_limit_s=time_limit_s) as pool:
        for number, key in chosen:
            attack, question = attacks()[number], questions()[key]
            text = attack.completion(question)
            pool.submit(SampleKey("attacks", str(number), key), text, question.gold, attack.finish)
        for (_, number_text, key), verdict in pool.drain(wait=True):
            if verdict.status in PAID and verdict.rule != "worker_starved":  # which a busy machine did
                attack = attacks()[int(number_text)]
                answers = ", ".join(questions()[key].answers)
                found.append(f"{attack.kind}.{attack.name} <- {answers} ({verdict.status.value}: {verdict.rule})")
    return sorted(found)


def is_a_box(attack: Attack) -> bool:
    """Whether a text is one box alone, for which it makes no difference that only boxes count."""
    return attack.text.startswith(r"\boxed{") and attack.text.count("boxed") == 1


def test_the_suite_is_broad() -> None:
    kinds = Counter(attack.kind for attack in attacks())
    assert len(attacks()) >= 300
    assert len(kinds) >= 30
    assert max(kinds.values()) <= 15
    assert len({(attack.text, attack.finish) for attack in attacks()}) == len(attacks())


@pytest.mark.parametrize("question", questions(), ids=lambda question: question.answers[0])
def test_the_right_answer_is_paid_and_no_other_one(question: Question) -> None:
    """The control: every gold can be earned, and by no other gold's answer."""
    texts = [", ".join(rf"\boxed{{{answer}}}" for answer in other.answers) for other in questions()]
    earned = [text for text in texts if grade(text, question.gold).status is Status.CORRECT]
    assert earned == [texts[questions().index(question)]]


def test_no_attack_is_paid() -> None:
    assert paid([pair for pair in pairs() if is_chosen(*pair)], strict_boxed=False, time_limit_s=0.2) == []


def test_no_attack_is_paid_where_only_boxes_count() -> None:
    chosen = [pair for pair in pairs() if is_chosen(*pair) and not is_a_box(attacks()[pair[0]])]
    assert paid(chosen, strict_boxed=True, time_limit_s=0.2) == []


@pytest.mark.slow
def test_no_attack_is_paid_for_any_gold() -> None:
    assert paid(pairs(), strict_boxed=False, time_limit_s=2.0) == []
