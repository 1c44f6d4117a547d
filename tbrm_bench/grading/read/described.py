r"""Sets of whole numbers, described in words, by a form or by a congruence; read whole or not at all.

    odd $n$                       n \equiv 1 \pmod 2             n = 2k+1,\ k \in \mathbb{Z}
    All powers of 2               2^k \text{ with } k \ge 0      1, 2, 4, 8, \ldots
    8p (for all odd primes p)     n = 1, n \ge 3                 all multiples of 14, excluding 0

A description is a union of parts without its exceptions. A part is a form `step * q + start` or `base ^ q` of a whole
number q, with conditions on q and on the number itself: "odd prime" is the form q with two conditions. Every word, sign
and letter has to be understood. Whether two descriptions are of the same set is for `equal.membership` to find out.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from tbrm_bench.grading.read.described_words import CONDITIONS, NOUNS, tokens
from tbrm_bench.grading.read.latex import ascii_math

MAX_TEXT = 300
MAX_TOKENS = 120
MAX_NUMBER = 1000  # of a constant: membership is tried over a range that the constants decide
_WHOLE = "ijklmnpq"
_MIRRORED = {">=": "<=", ">": "<", "<=": ">=", "<": ">", "!=": "!="}
_JOINTS = (",", "and", "or")
_ENDS = ("", "except", *_JOINTS)

# A name, and its numbers: ("prime", 0), ("mod 4", 3), (">=", 1), ("power of", 2), ("powers", 2), ("multiples", 14)
Condition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Part:
    """The numbers step * q + start, or base ^ q, for the whole q of all `on_q`, as far as they fulfil all `on_n`.

    Each entry of `on_q` and `on_n` holds alternatives: one of them has to be fulfilled.
    """

    step: int = 1
    start: int = 0
    base: int = 0
    on_q: tuple[tuple[Condition, ...], ...] = ()
    on_n: tuple[tuple[Condition, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A union of parts without the exceptions.

    `evident`: a word or a sign says that whole numbers are meant; `subject`: what the number is called, if anything.
    """

    parts: tuple[Part, ...]
    exceptions: tuple[Part, ...]
    evident: bool
    subject: str

    @property
    def may_be_whole(self) -> bool:
        """Whether it may describe whole numbers, as n = 4k + 3 may and y = 4x + 3 and the value 4k + 3 do not."""
        return self.evident or (self.subject != "" and self.subject in _WHOLE)


class _NotDescribed(Exception):
    """Something in the text is not understood."""


class _Member(NamedTuple):
    """A part as it was read: the letter of its form, whether it begins a new kind of number."""

    part: Part
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
    found = tokens(ascii_math(text.replace("$", " "))) if len(text) <= MAX_TEXT else None
    if not found or len(found) > MAX_TOKENS or any(token.isdigit() and _is_large(token) for token in found):
        return None
    try:
        return _Reader(found).read()
    except _NotDescribed:
        return None


def _is_large(digits: str) -> bool:
    return len(digits) > 4 or int(digits) > MAX_NUMBER


def _is_letter(token: str) -> bool:
    return len(token) == 1 and token.isalpha()


class _Reader:
    """One reading of the tokens, from left to right."""

    def __init__(self, found: list[str]) -> None:
        self.tokens = found
        self.at = 0
        self.subject = ""  # the letter that the number itself is called
        self.evident = False

    def read(self) -> Described:
        parts = self._union()
        exceptions: tuple[Part, ...] = ()
        if self._peek() == "except":
            self._next()
            self.evident = True
            exceptions = self._union()
        if self.at < len(self.tokens):
            raise _NotDescribed
        return Described(parts, exceptions, self.evident, self.subject)

    def _peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self.at += 1
        return token

    def _number(self) -> int:
        sign = -1 if self._peek() == "-" else 1
        self.at += sign < 0
        token = self._next()
        if not token.isdigit():
            raise _NotDescribed
        return sign * int(token)

    def _joint(self) -> str:
        joint = ""
        while self._peek() in _JOINTS:
            joint = self._next()
        return joint

    def _union(self) -> tuple[Part, ...]:
        members: list[_Member] = []
        joint = ""
        self._joint()
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
            raise _NotDescribed
        for member in members:
            if member.letter and member.part.step == 1 and not member.part.base and not member.part.on_q:
                raise _NotDescribed  # k + 1 alone is no set
        return tuple(member.part for member in members)

    def _run(self) -> Part | None:
        """Read 3, 4, 5, ... or 1, 2, 4, 8, ...; None, and nothing read, where there is no such run."""
        begin, values = self.at, []
        while self._peek().isdigit():
            values.append(self._number())
            if self._peek() != ",":
                break
            self._next()
        if self._peek() != "dots" or len(values) < 3:
            self.at = begin
            return None
        self._next()
        self.evident = True
        if (step := values[1] - values[0]) > 0 and values == [values[0] + step * index for index in range(len(values))]:
            return Part(step, values[0], on_q=(((">=", 0),),))
        base = values[1] // values[0] if values[0] else 0
        first = next((power for power in range(10) if base > 1 and base**power == values[0]), None)
        if first is None or len(values) < 4 or values != [base ** (first + index) for index in range(len(values))]:
            raise _NotDescribed
        return Part(base=base, on_q=(((">=", first),),))

    def _member(self, letters: list[str]) -> _Member:
        """Read what is between two joints: a number, a form with its conditions, or conditions alone."""
        part, letter = Part(), ""
        is_form = is_kind = False
        if self._peek() in _ENDS:
            raise _NotDescribed
        while self._peek() not in _ENDS:
            if not is_form and not part.on_n and (form := self._form(letters)) is not None:
                part, letter = form
                is_form, is_kind, letters = True, False, [letter]
                continue
            about, condition, noun = self._statement(letters)
            is_kind = is_kind or (noun and not about)
            if about and about in letters:
                part = replace(part, on_q=(*part.on_q, *condition))
            elif is_form and not letter and condition:
                raise _NotDescribed  # "7 odd"
            else:
                part = replace(part, on_n=(*part.on_n, *condition))
        if not is_form and not part.on_n and not part.on_q and not self.evident:
            raise _NotDescribed
        return _Member(part, letter, is_form, is_kind)

    def _form(self, letters: list[str]) -> tuple[Part, str] | None:
        """Read a number, 4k + 3 or 2^k, with or without "n ="; None, and nothing read, for anything else."""
        begin, subject = self.at, ""
        if _is_letter(self._peek()) and self._peek() not in letters and self._peek(1) == "=":
            subject = self._next()
            self._next()
        found = self._linear()
        if found and found[1] and found[0] == Part() and not subject:
            found = None
        if found is None or self._peek() in (*_MIRRORED, "==", "=", "^", "+", "-", "divides") or self._peek().isdigit():
            self.at = begin
            return None
        if found[1] and found[1] in (subject, self.subject):
            raise _NotDescribed
        self.subject = subject or self.subject
        return found

    def _linear(self) -> tuple[Part, str] | None:
        number = self._number() if self._peek().isdigit() or (self._peek() == "-" and self._peek(1).isdigit()) else None
        if number is not None and self._peek() == "^":
            self._next()
            letter = self._next()
            return (Part(base=number, on_q=(((">=", 0),),)), letter) if _is_letter(letter) and number > 1 else None
        start = 0
        if number is not None and self._peek() == "+":  # 3 + 4k
            self._next()
            start, number = number, self._number() if self._peek().isdigit() else 1
        if not _is_letter(self._peek()):
            return None if number is None or start else (Part(on_n=((("=", number),),)), "")
        letter, step = self._next(), 1 if number is None else number
        if not start and self._peek() in ("+", "-") and self._peek(1).isdigit():
            start = self._number() if self._peek() == "-" else self._after_plus()
        return (Part(step, start), letter) if step > 0 else None

    def _after_plus(self) -> int:
        self._next()
        return self._number()

    def _statement(self, letters: list[str]) -> tuple[str, tuple[tuple[Condition, ...], ...], bool]:
        """Read one statement: the letter that it is about, if it names one, its conditions, whether it has a noun."""
        token = self._peek()
        if token.isdigit() or token == "-":
            about, found = self._mirrored()
        elif _is_letter(token):
            about, found = self._next(), ()
            if self._peek() in (*_MIRRORED, "==", "in", "="):
                found = self._relation(letters, about)
                found = (*found, *self._kinds()[0]) if self._is_word() else found
            elif self._is_word():
                found = self._kinds()[0]
        elif self._is_word():
            found, noun = self._kinds()
            about = self._next() if _is_letter(self._peek()) and self._peek(1) not in (*_MIRRORED, "==", "=", "in") else ""
            self._call(about, letters)
            return about, found, noun
        elif token in _MIRRORED:  # at least 3
            about, found = "", (((self._next(), self._number()),),)
        elif token == "==":  # congruent to 3 modulo 4
            self._next()
            about, found = "", (self._residues(),)
        else:
            raise _NotDescribed
        self._call(about, letters)
        return about, found, False

    def _call(self, about: str, letters: list[str]) -> None:
        """Note what the number is called; it has one name."""
        if about and about not in letters:
            if self.subject not in ("", about):
                raise _NotDescribed
            self.subject = about

    def _is_word(self) -> bool:
        return self._peek() in CONDITIONS or self._peek() in ("powers", "multiples", "divisible")

    def _kinds(self) -> tuple[tuple[tuple[Condition, ...], ...], bool]:
        """Read adjectives and nouns side by side: odd prime, positive multiples of 14."""
        found: list[tuple[Condition, ...]] = []
        noun = False
        self.evident = True
        while self._is_word():
            word = self._next()
            noun = noun or word in NOUNS or word in ("powers", "multiples")
            if word in CONDITIONS:
                found += [(condition,) for condition in CONDITIONS[word]]
            else:
                found += self._of_numbers(word)
        return tuple(found), noun

    def _of_numbers(self, word: str) -> list[tuple[Condition, ...]]:
        name = "powers" if word == "powers" else "multiples"
        values, joint = [self._number()], ""
        while name == "multiples" and self._peek() in ("or", "and") and self._peek(1).isdigit() and self._peek(2) in _ENDS:
            if joint not in ("", self._peek()):
                raise _NotDescribed
            joint = self._next()
            values.append(self._number())
        if min(values) < 2:
            raise _NotDescribed
        conditions = [(name, value) for value in values]
        return [(condition,) for condition in conditions] if joint == "and" else [tuple(conditions)]

    def _mirrored(self) -> tuple[str, tuple[tuple[Condition, ...], ...]]:
        """Read 3 <= n < 9, 14 | n."""
        value, sign = self._number(), self._next()
        letter = self._next()
        if not _is_letter(letter) or (sign not in _MIRRORED and (sign != "divides" or value < 2)):
            raise _NotDescribed
        if sign == "divides":
            self.evident = True
            return letter, ((("multiples", value),),)
        found: tuple[tuple[Condition, ...], ...] = (((_MIRRORED[sign], value),),)
        if self._peek() in _MIRRORED:
            found = (*found, ((self._next(), self._number()),))
        return letter, found

    def _relation(self, letters: list[str], about: str) -> tuple[tuple[Condition, ...], ...]:
        """Read what follows a letter: >= 3, == 1 or 3 mod 4, in the integers, = 0, 1, 2, ..."""
        sign = self._next()
        if sign in _MIRRORED:
            return (((sign, self._number()),),)
        if sign == "==":
            return (self._residues(),)
        if sign in ("in", "=") and self._is_word():
            return self._kinds()[0]
        run = self._run() if about in letters or sign == "in" else None
        if run is None or run.base:
            raise _NotDescribed
        return (((">=", run.start),), *(((f"mod {run.step}", run.start % run.step),) for _ in range(run.step > 1)))

    def _residues(self) -> tuple[Condition, ...]:
        self.evident = True
        values = [self._number()]
        while self._peek() in _JOINTS:
            self._joint()
            values.append(self._number())
        if self._next() != "mod" or (modulus := self._number()) < 2:
            raise _NotDescribed
        return tuple((f"mod {modulus}", value % modulus) for value in values)


def _narrows(last: _Member, member: _Member, joint: str) -> bool:
    """Whether conditions belong to the member before them, and are not a kind of number of their own."""
    return not (member.is_form or member.is_kind or last.is_value or joint == "or")


def _narrowed(last: _Member, member: _Member) -> _Member:
    part = last.part
    on_q = (*part.on_q, *member.part.on_q) if last.letter else part.on_q
    return last._replace(part=replace(part, on_q=on_q, on_n=(*part.on_n, *member.part.on_n)))
