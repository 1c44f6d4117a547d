"""What the parts of the grammar see of the parser that calls them, and call back for what they hold."""

from collections.abc import Callable, Sequence
from typing import Protocol

from tbrm_bench.grading.read.cursor import Cursor
from tbrm_bench.grading.read.tokens import Token
from tbrm_bench.grading.read.tree import Tree


class Reader(Protocol):
    """The rules of `parse.Parser`; each reads from the cursor and raises Unreadable."""

    cursor: Cursor

    def apart(self, tokens: Sequence[Token]) -> Tree:
        """Read tokens that were taken out of the row, all of them."""

    def item(self) -> Tree:
        """Read one element of a list."""

    def product(self) -> Tree:
        """Read a product with the unit behind it."""

    def signed_power(self) -> Tree:
        """Read a power that may carry its own sign."""

    def power(self) -> Tree:
        """Read an atom and what is written behind it."""

    def script(self) -> Tree:
        """Read an exponent or an index."""

    def argument(self) -> Tree:
        """Read the argument of a LaTeX command."""

    def bracketed(
        self, closers: tuple[str, ...], read: Callable[[tuple[str, ...]], Tree] | None = None
    ) -> tuple[Tree, str]:
        """Read a list up to one of the closing brackets; return both."""
