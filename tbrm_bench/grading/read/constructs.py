r"""Sums, products, integrals, limits, determinants, which are left to SymPy: is each complete, and the rest read?

    \sum_{k=1}^{3} k = 6            complete: "Z k = 6" is read
    \sum \ne 6    \int 7            a sum of nothing, an integral over nothing: not to be guessed at
    \int_0^1 6\,dx \text{ dozen}    words that no reader of formulas would heed

A second reader skips what it does not know. So it is asked only where each construct, put aside as one symbol, leaves
an expression, or an equation of expressions, that is read here to its last sign.
"""

import re

from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.tree import walk

_SCRIPT = r"(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|\\?[a-zA-Z]+|-?\d)"
_NO_BODY = r"(?!\\(?:n?eq?|[lg]eq?|[lg]t|approx|simeq|sim|equiv|to|cdot|times|text|pm|in)(?![a-zA-Z]))"
_BODY = rf"(?=\s*[-(\[|{{]?\s*{_NO_BODY}[\w\\({{|])"
_LIMITS = rf"(?:_\s*{_SCRIPT}\s*\^\s*{_SCRIPT}|\^\s*{_SCRIPT}\s*_\s*{_SCRIPT})"
_DIFFERENTIAL = r"(?=.*(?<![a-zA-Z])d\s*\\?[a-zA-Z])"
_UPRIGHT_D = re.compile(r"\\(?:text|mathrm)\s*\{\s*d\s*\}")
_CONSTRUCT = re.compile(
    rf"\\(?:sum|prod)(?![a-zA-Z])\s*{_LIMITS}{_BODY}"
    rf"|\\i{{0,2}}o?int(?![a-zA-Z])\s*{_LIMITS}?{_DIFFERENTIAL}"
    rf"|\\lim(?![a-zA-Z])\s*_\s*\{{[^{{}}]*\\(?:to|rightarrow)[^{{}}]*\}}{_BODY}"
    rf"|\\det(?![a-zA-Z]){_BODY}"
)
_ANY = re.compile(r"\\(?:i{0,2}o?int|sum|prod|lim|det)(?![a-zA-Z])")
_UNREAD = frozenset(("text", "q", "list", "set", "union", "inter", "minus", "+-", "-+"))


def has_construct(text: str) -> bool:
    """Whether a cleaned text has a sum, a product, an integral, a limit or a determinant."""
    return _ANY.search(text) is not None


def is_read_in_full(text: str) -> bool:
    """Whether a cleaned text is an expression, or an equation, once its constructs are put aside as one symbol."""
    rest = _CONSTRUCT.sub(" Z ", _UPRIGHT_D.sub("d ", text))
    if _ANY.search(rest):
        return False
    trees = readings(" ".join(rest.split()))
    return bool(trees) and all(part[0] not in _UNREAD and _is_equal(part) for part in walk(trees[0]))


def _is_equal(part: tuple[object, ...]) -> bool:
    operators = part[1] if part[0] == "chain" else (part[1],) if part[0] == "rel" else ()
    return all(operator in ("=", "approx") for operator in operators)  # type: ignore[attr-defined]
