"""Golds with one thing changed: a digit, a sign, a relation, a bracket, a function, a letter.

    python tests/support/gold_mutations.py --data FOLDER [--task NAME]

prints every changed gold that the grader accepts although `tests/golden/mutations_accepted.txt` does not list it, with
both texts, and every listed one that it no longer accepts. That file names a change by its task, problem, kind and
number, never by a text: `math500 test/algebra/1.json digit-2 the same value`.

Example: `\\frac{12}{5}` has the changes digit-1 `\\frac{72}{5}`, sign-1 `-\\frac{12}{5}`, function-1 `\\binom{12}{5}`.
"""

import argparse
import random
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tbrm_bench.grading import GraderPool
from tbrm_bench.records import Gold, Problem, SampleKey, Status
from tbrm_bench.tasks.problems import load_problems
from tbrm_bench.tasks.spec import load_task, task_names

ACCEPTED = Path(__file__).parents[1] / "golden" / "mutations_accepted.txt"
TASKS = tuple(name for name in task_names() if load_task(name).generator is None)
MAX_PER_KIND = 5  # of one gold: long expressions have dozens of digits

_RELATIONS = {
    "<": ">", ">": "<", "=": r"\ne ", r"\le": r"\ge", r"\leq": r"\geq", r"\ge": r"\le", r"\geq": r"\leq",
    r"\ne": "=", r"\neq": "=", r"\in": r"\notin", r"\equiv": r"\not\equiv", r"\mid": r"\nmid",
}  # fmt: skip
_BRACKETS = {
    "(": "[",
    ")": "]",
    "[": "(",
    "]": ")",
    r"\lfloor": r"\lceil",
    r"\rfloor": r"\rceil",
    r"\lceil": r"\lfloor",
}
_FUNCTIONS = {
    r"\sin": r"\cos", r"\cos": r"\sin", r"\tan": r"\sin", r"\cot": r"\cos", r"\sec": r"\tan", r"\csc": r"\tan",
    r"\arcsin": r"\arctan", r"\arccos": r"\arcsin", r"\arctan": r"\arcsin", r"\ln": r"\sin", r"\log": r"\cos",
    r"\sqrt": r"\sin", r"\frac": r"\binom", r"\dfrac": r"\dbinom", r"\binom": r"\frac", r"\max": r"\min",
    r"\min": r"\max", r"\cup": r"\cap", r"\cap": r"\cup", r"\pi": "e", r"\infty": r"-\infty", r"\pm": "+", "!": "",
    r"\cdot": "+", r"\times": "-", "^": "_", "/": "-", r"\sinh": r"\cosh", r"\cosh": r"\sinh", r"\exp": r"\ln",
}  # fmt: skip
_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|\s+|.", re.DOTALL)
_SETTING = re.compile(r"\\(?:begin|end|text|mathrm|operatorname|mathbb|textbf)\s*\{[^{}]*\}|\\(?:left|right)\b")


class Mutation(NamedTuple):
    """One change of one gold: its name without any text of the benchmark, the completion and what was changed."""

    name: str  # "math500 test/algebra/1.json digit-2"
    answer: str
    gold: Gold


def _replacement(token: str, rng: random.Random, letters: str) -> tuple[str, str] | None:
    """Return the kind of the change and what replaces this token; None where nothing of it can change."""
    if token in string.digits:
        return "digit", rng.choice([digit for digit in string.digits if digit != token])
    if token in "+-":
        return "sign", "-" if token == "+" else "+"
    if token in string.ascii_letters:
        return "letter", rng.choice(letters)
    for kind, table in (("relation", _RELATIONS), ("bracket", _BRACKETS), ("function", _FUNCTIONS)):
        if token in table:
            return kind, table[token]
    return None


def _changes(text: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield (kind, changed text), from left to right; names of environments, alphabets and words stay as they are."""
    kept = {index for found in _SETTING.finditer(text) for index in range(*found.span())}
    letters = "".join(letter for letter in "uvwqzkm" if letter not in text)
    yield "sign", text.removeprefix("-") if text.startswith("-") else f"-{text}"
    for found in _TOKEN.finditer(text):
        if found.start() in kept or (found.start() == 0 and found[0] == "-"):
            continue
        change = _replacement(found[0], rng, letters)
        if change is not None:
            # A command must not run into the letter that follows it.
            gap = " " if re.search(r"\\[A-Za-z]+$", change[1]) and text[found.end() : found.end() + 1].isalpha() else ""
            yield change[0], text[: found.start()] + change[1] + gap + text[found.end() :]


def _word_changes(text: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    r"""Yield the text with one letter of each of its words in \text{} changed."""
    for found in re.finditer(r"\\(?:text|textbf|mathrm)\s*\{([^{}\\]*[A-Za-z][^{}\\]*)\}", text):
        places = [index for index in range(*found.span(1)) if text[index].isalpha()]
        index = rng.choice(places)
        other = rng.choice([letter for letter in "bdkqvz" if letter != text[index].lower()])
        yield "word", text[:index] + (other.upper() if text[index].isupper() else other) + text[index + 1 :]


def mutations(task: str, problem: Problem) -> Iterator[Mutation]:
    """Yield the changes of a problem's gold, at most MAX_PER_KIND of a kind, drawn by the problem's name."""
    rng = random.Random(f"{task} {problem.key.problem_id}")
    answers = problem.gold.answers
    by_kind: dict[str, list[str]] = {}
    for index, answer in enumerate(answers):
        for kind, changed in (*_changes(answer, rng), *_word_changes(answer, rng)):
            by_kind.setdefault(kind, []).append(", ".join((*answers[:index], changed, *answers[index + 1 :])))
    for kind, texts in by_kind.items():
        for number in sorted(rng.sample(range(len(texts)), min(MAX_PER_KIND, len(texts)))):
            yield Mutation(f"{task} {problem.key.problem_id} {kind}-{number + 1}", texts[number], problem.gold)


def all_mutations(task: str, data: Path) -> list[Mutation]:
    """Return the changes of all golds of a task; golds with a scorer of their own have none."""
    problems = load_problems(load_task(task), data_dir=data)
    return [change for problem in problems if not problem.gold.scorer for change in mutations(task, problem)]


def accepted(changes: list[Mutation]) -> list[Mutation]:
    """Return the changes that the grader takes for their gold."""
    found = []
    with GraderPool() as pool:
        for number, change in enumerate(changes):
            pool.submit(SampleKey("mutation", "", number), rf"\boxed{{{change.answer}}}", change.gold, "stop")
        for key, grade in pool.drain(wait=True):
            if grade.status is Status.CORRECT:
                found.append(key.sample_index)
    return [changes[number] for number in sorted(found)]


def listed() -> dict[str, str]:
    """Return the accepted changes that were looked at: name to reason."""
    lines = [line for line in ACCEPTED.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {" ".join(line.split(" ")[:3]): " ".join(line.split(" ")[3:]) for line in lines}


def main() -> None:
    """Print what differs from the list, with the texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the benchmarks' rows")
    parser.add_argument("--task", action="append", help="a task (default: all)")
    options = parser.parse_args()
    known = listed()
    for task in options.task or TASKS:
        changes = all_mutations(task, options.data)
        found = accepted(changes)
        names = {change.name for change in found}
        kinds = Counter(change.name.split(" ")[2].split("-")[0] for change in changes)
        print(f"{task}: {len(changes)} changes, {len(found)} accepted", dict(kinds))
        for change in found:
            if change.name not in known:
                print(f"  new: {change.name}\n    {', '.join(change.gold.answers)}\n    {change.answer}")
        for name in sorted(name for name in known if name.startswith(f"{task} ") and name not in names):
            print(f"  no longer accepted: {name}")


if __name__ == "__main__":
    main()
