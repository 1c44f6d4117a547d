"""A place in a row of tokens, with a count of how deep the brackets are."""

from collections.abc import Sequence

from tbrm_bench.grading.limits import MAX_DEPTH
from tbrm_bench.grading.read.tokens import Token, Unreadable
from tbrm_bench.grading.read.vocabulary import NO_ATOMS

END = Token("EOF", "")
_ATOM_KINDS = frozenset(("NUMBER", "WORD", "TEXT", "BEGIN"))
_ATOM_OPS = frozenset(("(", "[", "{", "\\{"))


class Cursor:
    """Reads tokens one after the other."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        """Start at the first token."""
        self._tokens = list(tokens)
        self._index = 0
        self._depth = 0
        self.bars = 0  # open |...|
        self.has_dots = False  # whether an ellipsis was read

    def peek(self, ahead: int = 0) -> Token:
        """Return the next token (or one further ahead) without moving; EOF behind the last."""
        index = self._index + ahead
        return self._tokens[index] if index < len(self._tokens) else END

    def next(self) -> Token:
        """Return the next token and step behind it."""
        index = self._index
        self._index += 1
        return self._tokens[index] if index < len(self._tokens) else END

    def at_end(self) -> bool:
        """Whether all tokens are read."""
        return self._index >= len(self._tokens)

    def accept(self, kind: str, value: str) -> bool:
        """Step over the next token if it is this one."""
        index = self._index
        if index < len(self._tokens) and self._tokens[index][:2] == (kind, value):
            self._index += 1
            return True
        return False

    def expect(self, value: str) -> None:
        """Step over the next token, which must be the operator `value`. Raises Unreadable."""
        if not self.accept("OP", value):
            raise Unreadable(f"expected {value!r}")

    def starts_atom(self) -> bool:
        """Whether the next token can begin a factor, so that nothing before it means times."""
        token = self.peek()
        if token.kind == "OP":
            return token.value in _ATOM_OPS or (token.value in ("|", "\\|") and not self.bars)
        if token.kind == "COMMAND":
            return token.value not in NO_ATOMS
        if token.kind in ("WORD", "TEXT") and token.value.lower() in ("and", "or"):
            return False
        return token.kind in _ATOM_KINDS

    def split_number(self) -> None:
        r"""Make the next token one digit if it is a number: \frac12 is 1/2."""
        token = self.peek()
        if token.kind == "NUMBER" and len(token.value) > 1 and token.value.isdigit():
            rest = Token("NUMBER", token.value[1:])
            self._tokens[self._index : self._index + 1] = [Token("NUMBER", token.value[0], token.spaced), rest]

    def insert(self, tokens: Sequence[Token]) -> None:
        """Put tokens before the next one."""
        self._tokens[self._index : self._index] = tokens

    def deeper(self) -> "Cursor":
        """Count one more level of nesting, while it is entered. Raises Unreadable beyond the limit."""
        self._depth += 1
        if self._depth > 3 * MAX_DEPTH:  # a bracket is up to three levels of the grammar
            raise Unreadable("nested too deeply")
        return self

    def __enter__(self) -> None:
        """Go deeper, which `deeper` has counted."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Come back; what raised goes on to raise."""
        if kind is None:
            self._depth -= 1
