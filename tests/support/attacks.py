"""Ways to be paid without knowing the answer: the data of tests/bench/grading/attacks, read and filled in.

A file there is a family of attacks, a table a kind, a key the name of one attack:

    [plus_minus]
    huge = '\\boxed{500\\pm500}'
    other = { text = '\\boxed{204} or \\boxed{203}', honest = ['203'], finish = 'length' }

A text is what a policy writes that knows the problem and not its answer. Between « and » stands what is filled in:
`«0..999|, »` the integers joined by what follows the bar, `«500*x»` a text repeated, `«problem»` and `«kind»` of the
problem, `«asks»` the letter that it asks for, `«numbers|, »` the numbers in its text.
`honest` lists the golds that a fair reading of the text may give, such as the last of two boxes; all others are not
determined by it, and no gold of golds.toml equals another.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tbrm_bench.records import Gold

FOLDER = Path(__file__).parents[1] / "bench" / "grading" / "attacks"
_HOLE = re.compile("«([^»]*)»")


@dataclass(frozen=True, slots=True)
class Question:
    """An invented problem: its text, the letter that it asks for and its right answers, all wanted."""

    kind: str
    asks: str
    problem: str
    answers: tuple[str, ...]

    @property
    def gold(self) -> Gold:
        """The gold as the grader takes it."""
        return Gold(self.answers)


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to be paid: `text` with its holes; `honest` are the golds that a fair reading may give."""

    kind: str
    name: str
    text: str
    honest: tuple[str, ...] = ()
    finish: Literal["stop", "length"] = "stop"

    def completion(self, question: Question) -> str:
        """Return what the policy writes for a problem."""
        return _HOLE.sub(lambda hole: _filled(hole[1], question), self.text)

    def determines(self, question: Question) -> bool:
        """True if a fair reading of the text may be this problem's answer."""
        return all(answer in self.honest for answer in question.answers)


def _filled(hole: str, question: Question) -> str:
    name, _, between = hole.partition("|")
    if name == "numbers":
        return between.join(re.findall(r"\d+", question.problem))
    if name in ("problem", "kind", "asks"):
        return str(getattr(question, name))
    if found := re.fullmatch(r"(\d+)\.\.(\d+)", name):
        return between.join(str(value) for value in range(int(found[1]), int(found[2]) + 1))
    count, star, text = hole.partition("*")
    if not (star and count.isdigit()):
        raise ValueError(f"«{hole}» is no hole that can be filled")
    return text * int(count)


@cache
def questions() -> tuple[Question, ...]:
    """Return the invented problems."""
    rows = tomllib.loads((FOLDER / "golds.toml").read_text(encoding="utf-8"))["problem"]
    return tuple(
        Question(row["kind"], row["asks"], row["problem"], tuple(row.get("answers") or [row["answer"]])) for row in rows
    )


@cache
def attacks() -> tuple[Attack, ...]:
    """Return all attacks, by file, kind and name."""
    return tuple(_read())


def _read() -> Iterator[Attack]:
    for path in sorted(FOLDER.glob("*.toml")):
        if path.name == "golds.toml":
            continue
        for kind, members in tomllib.loads(path.read_text(encoding="utf-8")).items():
            for name, entry in members.items():
                row: dict[str, Any] = {"text": entry} if isinstance(entry, str) else entry
                assert set(row) <= {"text", "honest", "finish"}, f"{path.name}: {kind}.{name} has an unknown key"
                yield Attack(kind, name, row["text"], tuple(row.get("honest", ())), row.get("finish", "stop"))
