"""Integer arithmetic in five levels, with worked solutions: the bundled task, and what the bundled model learnt from.

    level 1   8 + 17            one sum or difference of small numbers
    level 2   437 - 58          the same with up to three digits
    level 3   24 + 7 * 8        a product of digits and a term
    level 4   36 * 7            two digits times one digit
    level 5   42 * 6 - 135      such a product and a term of three digits

An expression belongs to the test or to the training side by a hash of its text, so the two never meet, whatever the
seeds ("8 + 17" and "17 + 8" are two expressions, though). On the test side expressions are drawn without repetition;
every second one is asked twice, in different words, and these twins form a cluster: a model that knows one knows the
other, so they are not two independent questions.

Everything is a function of (seed, level, index) through SHA-256, not of Python's random module, so that the rows are
the same in every version.

Example: Problem "L3-0007", question "What is 24 + 7 * 8?", gold 80, solution
"7 * 8 = 56. 24 + 56 = 24 + 50 + 6 = 74 + 6 = 80. \\boxed{80}".
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from tbrm_bench.records import Gold, Problem, ProblemKey

TASK = "arithmetic"
LEVELS = (1, 2, 3, 4, 5)
PHRASINGS = ("What is {}?", "Compute {}.")
# The numbers of a sum or difference, by level. They overlap, in training for good; in tests level 2 leaves out what
# level 1 may ask.
SUM_RANGES = {1: (1, 30), 2: (10, 500)}
# One expression in four is kept for tests.
HELD_OUT_SHARE = 4
# Into how many parts a share is divided.
SHARES = 1 << 20
# Level 4 has about 150 test expressions, so about 230 questions; beyond that there is nothing new to draw.
MAX_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class Exercise:
    """An expression of integers with +, -, * and the lines that work it out; the last line ends in its value."""

    level: int
    expression: str
    steps: tuple[str, ...]
    value: int

    @property
    def held_out(self) -> bool:
        """True if the expression belongs to the test side."""
        return hashlib.sha256(self.expression.encode()).digest()[0] % HELD_OUT_SHARE == 0

    @property
    def solution(self) -> str:
        """The worked solution: every step as a sentence, then the boxed value."""
        return " ".join(f"{step}." for step in self.steps) + f" {self.direct}"

    @property
    def direct(self) -> str:
        """The boxed value alone, without a step."""
        return f"\\boxed{{{self.value}}}"


def generate(*, num_problems: int, seed: int) -> list[Problem]:
    """Return `num_problems` test problems, the same number of each level (the first levels get what is left over).

    Raises ValueError beyond MAX_PROBLEMS.
    """
    if not 0 < num_problems <= MAX_PROBLEMS:
        raise ValueError(f"num_problems is {num_problems}, not between 1 and {MAX_PROBLEMS}")
    problems: list[Problem] = []
    for level in LEVELS:
        share = num_problems // len(LEVELS) + (level <= num_problems % len(LEVELS))
        for index, (cluster, question, exercise) in zip(range(share), _test_questions(level, seed), strict=False):
            key = ProblemKey(TASK, f"L{level}-{index:04d}")
            gold = Gold(answers=(str(exercise.value),), kind="integer")
            problems.append(Problem(key=key, question=question, gold=gold, cluster=cluster))
    return problems


def training_pairs(seed: int, *, direct_share: float = 0.0) -> Iterator[tuple[str, str]]:
    """Yield (question, worked solution) for ever, all levels and phrasings in turn, never a test expression.

    In a share of them, in [0, 1], the boxed value stands for the solution. The share moves no question.
    """
    index = 0
    while True:
        draw = _Draw(f"train/{seed}/{index}")
        exercise = _exercise(LEVELS[draw(0, len(LEVELS) - 1)], draw)
        if not exercise.held_out:
            question = PHRASINGS[draw(0, 1)].format(exercise.expression)
            is_direct = draw(0, SHARES - 1) < direct_share * SHARES
            yield question, exercise.direct if is_direct else exercise.solution
        index += 1


def _test_questions(level: int, seed: int) -> Iterator[tuple[str, str, Exercise]]:
    """Yield (cluster, question, exercise) of distinct test expressions; every second one comes twice."""
    seen: set[str] = set()
    index = 0
    while True:
        exercise = _exercise(level, _Draw(f"test/{seed}/{level}/{index}"))
        index += 1
        if exercise.expression in seen or not exercise.held_out or (level == 2 and _is_of_level_1(exercise)):
            continue
        number = len(seen)
        seen.add(exercise.expression)
        for phrasing in PHRASINGS if number % 2 else PHRASINGS[number // 2 % 2 :][:1]:
            yield f"L{level}-c{number:04d}", phrasing.format(exercise.expression), exercise


class _Draw:
    """Integers from a name: SHA-256 in counter mode."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def __call__(self, low: int, high: int) -> int:
        """Return an integer in [low, high]; the bias of the modulo is below 2**-50 for our ranges."""
        digest = hashlib.sha256(f"{self.name}/{self.count}".encode()).digest()
        self.count += 1
        return low + int.from_bytes(digest[:8], "big") % (high - low + 1)


def _exercise(level: int, draw: _Draw) -> Exercise:
    if level in SUM_RANGES:
        low, high = SUM_RANGES[level]
        steps, value = _sum(draw(low, high), draw(low, high), draw(0, 1))
        return Exercise(level, steps[0].partition(" =")[0], steps, value)
    if level == 3:
        first, second = draw(2, 9), draw(2, 9)
        return _product_and_term(level, (f"{first} * {second} = {first * second}",), draw(2, 99), draw)
    steps = _product(draw(12, 99), draw(3, 9))
    if level == 4:
        return Exercise(level, steps[0].partition(" =")[0], steps, _value(steps))
    return _product_and_term(level, steps, draw(100, 400), draw)


def _is_of_level_1(exercise: Exercise) -> bool:
    first, _, second = exercise.expression.split()
    return max(int(first), int(second)) <= SUM_RANGES[1][1]


def _product_and_term(level: int, steps: tuple[str, ...], term: int, draw: _Draw) -> Exercise:
    """Join a worked product and a term, in either order, so that the value is not negative."""
    product, value = steps[0].partition(" =")[0], _value(steps)
    if draw(0, 1):
        last, total = _sum(term, value, 0)
        return Exercise(level, f"{term} + {product}", steps + last, total)
    subtract = draw(0, 1) if value >= term else 0
    last, total = _sum(value, term, subtract)
    return Exercise(level, f"{product} {'-' if subtract else '+'} {term}", steps + last, total)


def _sum(first: int, second: int, subtract: int) -> tuple[tuple[str, ...], int]:
    """Work out a sum, or the difference of the larger and the smaller number, digit by digit of the second one."""
    sign = "-" if subtract else "+"
    value, term = (max(first, second), min(first, second)) if subtract else (first, second)
    digits = str(term)
    parts = [digit + "0" * (len(digits) - place) for place, digit in enumerate(digits, 1) if digit != "0"]
    chain = [f"{value} {sign} {term}"]
    for place in range(len(parts) if len(parts) > 1 else 0):
        chain.append(f" {sign} ".join([str(value), *parts[place:]]))
        value += int(sign + parts[place])
    value = value if len(parts) > 1 else value + int(sign + digits)
    return (" = ".join([*chain, str(value)]),), value


def _product(first: int, second: int) -> tuple[str, ...]:
    """Work out two digits times one digit by tens and ones."""
    tens, ones = first // 10 * 10, first % 10
    parts = f"{tens * second} + {ones * second}"
    return (f"{first} * {second} = {tens} * {second} + {ones} * {second} = {parts} = {first * second}",)


def _value(steps: tuple[str, ...]) -> int:
    return int(steps[-1].rpartition("= ")[2])
