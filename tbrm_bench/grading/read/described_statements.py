r"""What is said of one number of a described set: odd, >= 3, congruent to 3 modulo 4, a multiple of 14, 3, 4, 5, ...

A statement is about the number itself or about the letter of its form, q in 4q + 3. Its conditions are groups of
alternatives, of which one has to be fulfilled: n \equiv 1, 3 \pmod 8 is one group of two.
"""

from dataclasses import dataclass
from itertools import pairwise

from tbrm_bench.grading.read.described_words import CONDITIONS, NOUNS
from tbrm_bench.grading.read.tree import TURNED

WHOLE = "ijklmnpq"  # letters of whole numbers
JOINTS = (",", "and", "or")
ENDS = ("", "except", *JOINTS)

# A name, and its number: ("prime", 0), ("mod 4", 3), (">=", 1), ("power of", 2), ("powers", 2), ("multiples", 14)
Condition = tuple[str, int]
Groups = tuple[tuple[Condition, ...], ...]


@dataclass(frozen=True, slots=True)
class Progression:
    """The numbers step * q + start, or base ^ q, for the whole q of all `on_q`, as far as they fulfil all `on_n`.

    Each entry of `on_q` and `on_n` holds alternatives: one of them has to be fulfilled.
    """

    step: int = 1
    start: int = 0
    base: int = 0
    on_q: Groups = ()
    on_n: Groups = ()


class NotDescribed(Exception):
    """Something in the text is not understood."""


def is_letter(token: str) -> bool:
    """Whether a token is one letter."""
    return len(token) == 1 and token.isalpha()


class Statements:
    """Tokens, read from left to right; every method raises NotDescribed for what it does not know."""

    def __init__(self, found: list[str], *, evident: bool) -> None:
        self.tokens = found
        self.at = 0
        self.subject = ""  # the letter that the number itself is called
        self.evident = evident
        self.worded = False

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
            raise NotDescribed
        return sign * int(token)

    def _joint(self) -> str:
        joint = ""
        while self._peek() in JOINTS:
            joint = self._next()
        return joint

    def _run(self) -> Progression | None:
        """Read 3, 4, 5, ... or 1, 2, 4, 8, ...; None, and nothing read, where there is no such run."""
        begin, values = self.at, []
        while self._peek().isdigit():
            values.append(self._number())
            if self._peek() != ",":
                break
            self._next()
        if self._peek() != "dots" or len(values) < 2:
            self.at = begin
            return None
        self._next()
        ends = self._last_ones()
        last = ends[-1] if ends else None
        if last is None and len(values) < 3:
            raise NotDescribed
        self.evident = True
        if last is not None:
            step = values[1] - values[0]
            if step < 1 or (last - values[0]) % step or ends[0] <= values[-1]:
                raise NotDescribed
            if any(high - low != step for low, high in pairwise(ends)):
                raise NotDescribed
            values = values if values == [values[0] + step * index for index in range(len(values))] else []
            if not values:
                raise NotDescribed
            return Progression(step, values[0], on_q=(((">=", 0),), (("<=", (last - values[0]) // step),)))
        if (step := values[1] - values[0]) > 0 and values == [values[0] + step * index for index in range(len(values))]:
            return Progression(step, values[0], on_q=(((">=", 0),),))
        base = values[1] // values[0] if values[0] else 0
        first = next((power for power in range(10) if base > 1 and base**power == values[0]), None)
        if first is None or len(values) < 4 or values != [base ** (first + index) for index in range(len(values))]:
            raise NotDescribed
        return Progression(base=base, on_q=(((">=", first),),))

    def _last_ones(self) -> list[int]:
        """Read what ends 1, 2, ..., 9, 10; nothing, where nothing does."""
        begin, ends = self.at, []
        while self._peek().isdigit() or (self._peek() == "," and self._peek(1).isdigit()):
            if self._peek() == ",":
                self._next()
            ends.append(self._number())
        if self._peek() not in ("", "except") and (len(ends) > 1 or self.tokens[begin] == ","):
            self.at, ends = begin, []
        return ends

    def _statement(self, letters: list[str]) -> tuple[str, tuple[tuple[Condition, ...], ...], bool]:
        """Read one statement: the letter that it is about, if it names one, its conditions, whether it has a noun."""
        token = self._peek()
        if token.isdigit() or token == "-":
            about, found = self._mirrored()
        elif is_letter(token):
            about, found = self._next(), ()
            if self._peek() in (*TURNED, "==", "in", "="):
                found = self._relation(letters, about)
                found = (*found, *self._kinds()[0]) if self._is_word() else found
            elif self._is_word():
                found = self._kinds()[0]
        elif self._is_word():
            found, noun = self._kinds()
            about = self._next() if is_letter(self._peek()) and self._peek(1) not in (*TURNED, "==", "=", "in") else ""
            self._call(about, letters)
            return about, found, noun
        elif token == "from":
            self._next()
            low = self._number()
            if self._next() != "to":
                raise NotDescribed
            about, found = "", (((">=", low),), (("<=", self._number()),))
        elif token in TURNED:  # at least 3
            about, found = "", (((self._next(), self._number()),),)
        elif token == "==":  # congruent to 3 modulo 4
            self._next()
            about, found = "", (self._residues(),)
        else:
            raise NotDescribed
        self._call(about, letters)
        return about, found, False

    def _call(self, about: str, letters: list[str]) -> None:
        """Note what the number is called; it has one name."""
        if about and about not in letters:
            if self.subject not in ("", about):
                raise NotDescribed
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
            self.worded = self.worded or word != "integer"
            noun = noun or word in NOUNS or word in ("powers", "multiples")
            if word in CONDITIONS:
                found += [(condition,) for condition in CONDITIONS[word]]
            else:
                found += self._of_numbers(word)
        return tuple(found), noun

    def _of_numbers(self, word: str) -> list[tuple[Condition, ...]]:
        name = "powers" if word == "powers" else "multiples"
        values, joint = [self._number()], ""
        while (
            name == "multiples" and self._peek() in ("or", "and") and self._peek(1).isdigit() and self._peek(2) in ENDS
        ):
            if joint not in ("", self._peek()):
                raise NotDescribed
            joint = self._next()
            values.append(self._number())
        if min(values) < 2:
            raise NotDescribed
        conditions = [(name, value) for value in values]
        return [(condition,) for condition in conditions] if joint == "and" else [tuple(conditions)]

    def _mirrored(self) -> tuple[str, tuple[tuple[Condition, ...], ...]]:
        """Read 3 <= n < 9, 14 | n."""
        value, sign = self._number(), self._next()
        letter = self._next()
        if not is_letter(letter) or (sign not in TURNED and (sign != "divides" or value < 2)):
            raise NotDescribed
        if sign == "divides":
            self.evident = True
            return letter, ((("multiples", value),),)
        found: tuple[tuple[Condition, ...], ...] = (((TURNED[sign], value),),)
        if self._peek() in TURNED:
            found = (*found, ((self._next(), self._number()),))
        return letter, found

    def _relation(self, letters: list[str], about: str) -> tuple[tuple[Condition, ...], ...]:
        """Read what follows a letter: >= 3, == 1 or 3 mod 4, in the integers, = 0, 1, 2, ..."""
        sign = self._next()
        if sign in TURNED:
            return (((sign, self._number()),),)
        if sign == "==":
            return (self._residues(),)
        if sign in ("in", "=") and self._is_word():
            return self._kinds()[0]
        run = self._run() if about in letters or sign == "in" else None
        if run is None or run.base:
            raise NotDescribed
        return (((">=", run.start),), *(((f"mod {run.step}", run.start % run.step),) for _ in range(run.step > 1)))

    def _residues(self) -> tuple[Condition, ...]:
        self.evident = True
        values = [self._number()]
        while self._peek() in JOINTS:
            self._joint()
            values.append(self._number())
        if self._next() != "mod" or (modulus := self._number()) < 2:
            raise NotDescribed
        return tuple((f"mod {modulus}", value % modulus) for value in values)
