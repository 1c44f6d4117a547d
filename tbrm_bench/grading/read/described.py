r"""Sets of whole numbers, described in words, by a form or by a congruence; read whole or not at all.

    odd $n$                       n \equiv 1 \pmod 2             n = 2k+1,\ k \in \mathbb{Z}
    All powers of 2               2^k \text{ with } k \ge 0      1, 2, 4, 8, \ldots
    8p (for all odd primes p)     n = 1, n \ge 3                 all multiples of 14, excluding 0

A description is a union of parts without its exceptions. A part is a form `step * q + start` or `base ^ q` of a whole
number q, with conditions on q and on the number itself: "odd prime" is the form q with two conditions. Every word, sign
and letter has to be understood. Whether two descriptions are of the same set is for `equal.membership` to find out.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from tbrm_bench.grading.read.described_statements import (
    ENDS,
    WHOLE,
    NotDescribed,
    Progression,
    Statements,
    is_letter,
)
from tbrm_bench.grading.read.described_words import tokens
from tbrm_bench.grading.read.latex import ascii_math
from tbrm_bench.grading.read.tree import TURNED

MAX_TEXT = 300
MAX_TOKENS = 120
MAX_NUMBER = 2000  # of a constant: membership is tried over a range that the constants decide
_TUPLE = re.compile(r"\s*(?:\\left)?\s*\(\s*-?\d+\s*,")
_ALL = re.compile(r"\b(?:all|every|any)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Described:
    """A union of parts without the exceptions.

    `evident`: a word or a sign says that whole numbers are meant; `worded`: words say of which kind they are;
    `subject`: what the number is called, if anything.
    """

    parts: tuple[Progression, ...]
    exceptions: tuple[Progression, ...]
    evident: bool
    worded: bool
    subject: str

    @property
    def may_be_whole(self) -> bool:
        """Whether it may describe whole numbers, as n = 4k + 3 may and y = 4x + 3 and the value 4k + 3 do not."""
        return self.evident or (self.subject != "" and self.subject in WHOLE)


class _Member(NamedTuple):
    """A part as it was read: the letter of its form, whether it begins a new kind of number."""

    part: Progression
    letter: str
    is_form: bool
    is_kind: bool

    @property
    def is_value(self) -> bool:
        """Whether it is one number."""
        return self.is_form and not self.letter


@lru_cache(maxsize=4096)
def described(text: str) -> Described | None:
    """Return the set of whole numbers that an answer describes; None if it describes none."""
    if len(text) > MAX_TEXT or _TUPLE.match(text):
        return None
    spelt = ascii_math(text.replace("$", " "))
    if not spelt.isascii() and any(char.isalpha() and not char.isascii() for char in spelt):
        return None  # 不是: words that are not read
    found = tokens(spelt)
    if not found or len(found) > MAX_TOKENS or any(token.isdecimal() and _is_large(token) for token in found):
        return None
    try:
        return _Reader(found, evident=_ALL.search(text) is not None).read()
    except NotDescribed:
        return None


def _is_large(digits: str) -> bool:
    return len(digits) > 4 or int(digits) > MAX_NUMBER


class _Reader(Statements):
    """One reading of the tokens as a union without exceptions."""

    def read(self) -> Described:
        """Read everything."""
        parts = self._union()
        exceptions: tuple[Progression, ...] = ()
        if self._peek() == "except":
            self._next()
            self.evident = True
            exceptions = self._union()
        if self.at < len(self.tokens):
            raise NotDescribed
        return Described(parts, exceptions, self.evident, self.worded, self.subject)

    def _union(self) -> tuple[Progression, ...]:
        members: list[_Member] = []
        joint = self._joint()
        if is_letter(self._peek()) and self._peek(1) == "in" and self._peek(2).isdigit():  # n in {1} or {3, 4, 5, ...}
            self._call(self._next(), [])
            self._next()
        while self._peek() not in ("", "except"):
            run = self._run()
            member = _Member(run, "", True, True) if run else self._member([each.letter for each in members])
            if member.part.on_q and not member.is_form:  # conditions on the letter of the forms before
                members = [_narrowed(each, member) for each in members]
            elif members and _narrows(members[-1], member, joint):
                members[-1] = _narrowed(members[-1], member)
            else:
                members.append(member)
            joint = self._joint()
            if not joint:
                break
        if not members:
            raise NotDescribed
        if self.subject and self.subject in WHOLE and len({member.is_value for member in members}) == 2:
            self.evident = True  # n = 1, n >= 3
        for member in members:
            said = member.part.on_q[1:] if member.part.base else member.part.on_q
            self.evident = self.evident or bool(said and member.letter in WHOLE)
            if member.letter and member.part.step == 1 and not member.part.base and not member.part.on_q:
                raise NotDescribed  # k + 1 alone is no set
        return tuple(member.part for member in members)

    def _member(self, letters: list[str]) -> _Member:
        """Read what is between two joints: a number, a form with its conditions, or conditions alone."""
        part, letter = Progression(), ""
        is_form = is_kind = False
        if self._peek() in ENDS:
            raise NotDescribed
        while self._peek() not in ENDS:
            if not is_form and not part.on_n and (form := self._form(letters)) is not None:
                part, letter = form
                is_form, is_kind, letters = True, False, [letter]
                continue
            about, condition, noun = self._statement(letters)
            is_kind = is_kind or (noun and not about)
            if about and about in letters:
                part = replace(part, on_q=(*part.on_q, *condition))
            elif is_form and not letter and condition:
                raise NotDescribed  # "7 odd"
            else:
                part = replace(part, on_n=(*part.on_n, *condition))
        if not is_form and not part.on_n and not part.on_q and not self.evident:
            raise NotDescribed
        return _Member(part, letter, is_form, is_kind)

    def _form(self, letters: list[str]) -> tuple[Progression, str] | None:
        """Read a number, 4k + 3 or 2^k, with or without "n ="; None, and nothing read, for anything else."""
        begin, subject = self.at, ""
        if is_letter(self._peek()) and self._peek() not in letters and self._peek(1) == "=":
            subject = self._next()
            self._next()
        found = self._linear()
        if found and found[1] and found[0] == Progression() and not subject:
            found = None
        if found is None or self._peek() in (*TURNED, "==", "=", "^", "+", "-", "divides") or self._peek().isdigit():
            self.at = begin
            return None
        if found[1] and found[1] in (subject, self.subject):
            raise NotDescribed
        self.subject = subject or self.subject
        return found

    def _linear(self) -> tuple[Progression, str] | None:
        number = self._number() if self._peek().isdigit() or (self._peek() == "-" and self._peek(1).isdigit()) else None
        if number is not None and self._peek() == "^":
            self._next()
            letter = self._next()
            return (
                (Progression(base=number, on_q=(((">=", 0),),)), letter) if is_letter(letter) and number > 1 else None
            )
        start = 0
        if number is not None and self._peek() == "+":  # 3 + 4k
            self._next()
            start, number = number, self._number() if self._peek().isdigit() else 1
        if not is_letter(self._peek()):
            return None if number is None or start else (Progression(on_n=((("=", number),),)), "")
        letter, step = self._next(), 1 if number is None else number
        if not start and self._peek() in ("+", "-") and self._peek(1).isdigit():
            start = self._number() if self._peek() == "-" else self._after_plus()
        return (Progression(step, start), letter) if step > 0 else None

    def _after_plus(self) -> int:
        self._next()
        return self._number()


def _narrows(last: _Member, member: _Member, joint: str) -> bool:
    """Whether conditions belong to the member before them, and are not a kind of number of their own."""
    return not (member.is_form or member.is_kind or last.is_value or joint == "or")


def _narrowed(last: _Member, member: _Member) -> _Member:
    part = last.part
    on_q = (*part.on_q, *member.part.on_q) if last.letter else part.on_q
    return last._replace(part=replace(part, on_q=on_q, on_n=(*part.on_n, *member.part.on_n)))
