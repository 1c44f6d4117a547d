"""What `parse` does not read, integrals, sums and limits, goes to math-verify; in a worker only.

Example: \\int_0^1 x\\,dx is \\frac12 by its rule `sympy`; in "5 = 6 = \\int ..." every side is judged.
"""

import importlib.util
import re
from typing import Any

from tbrm_bench.grading.equal.known_gold import ReadGold, read_gold, unspaced
from tbrm_bench.grading.equal.rounding import approximates
from tbrm_bench.grading.equal.structure import Comparer
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.constructs import has_construct, is_read_in_full
from tbrm_bench.grading.read.latex import clean, split_top_level
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.tree import symbols
from tbrm_bench.records import Gold

# \det A = 5: math-verify reads the number alone. In anything longer it would pick one out of what it cannot read.
_NAMED_NUMBER = re.compile(r"[^\d=]*=\s*-?\d+(?:\.\d+)?\s*")
_LIMIT = re.compile(r"\\lim(?![a-zA-Z])\s*(?:\\limits\s*)?_\s*\{([^{}]*)\}")
_APPROXIMATELY = re.compile(r"\\(?:approx|simeq)(?![a-zA-Z])")


def side_by_side(answer: str, gold: Gold, known: ReadGold) -> Verdict:
    """Judge "5 = 6 = \\int ..." by every side that is read here, since math-verify judges one side and no other."""
    cleaned = clean(answer)
    sides = split_top_level(_APPROXIMATELY.sub("=", cleaned), "=")
    if known.trees is None or len(known.trees) > 1 or known.trees[0][0] in ("list", "rel", "chain") or len(sides) < 2:
        return by_sympy(answer, gold)
    comparer = Comparer(known.policy, precise=True)
    wanted = known.trees[0]
    read = [trees[0] for side in sides if (trees := readings(side))]
    values = [tree for tree in read if tree[0] != "text" and not symbols(tree)]
    verdicts = [comparer.item(wanted, value)[0] for value in values]
    if _APPROXIMATELY.search(cleaned) is None:
        return (False, "equation") if False in verdicts else by_sympy(answer, gold)
    symbolic = [side for side in sides if not readings(side)]
    if not all(by_sympy(side, gold)[0] for side in symbolic):
        return False, "approximation"
    known_equal = [wanted] if symbolic else []
    return approximates(comparer, wanted, known_equal + values, [True] * len(known_equal) + verdicts), "approximation"


def by_sympy(answer: str, gold: Gold) -> Verdict:
    """Ask math-verify, which reads what we do not: integrals, sums, limits. Its own timeouts stay off: ours kill."""
    if importlib.util.find_spec("math_verify") is None and read_gold(gold).trees is not None:
        return False, "no_math_verify"  # an answer left as an integral, where the gold is a value
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    texts = [clean(text) for text in (answer, *gold.answers)]
    if not any(map(has_construct, texts)) or not all(map(is_read_in_full, texts)):
        return False, "unreadable"  # what is read only half says nothing
    if all("=" in text for text in texts) and len({tuple(sorted(_limits(text))) for text in texts}) > 1:
        return False, "limit"  # a statement about another limit
    configs = (LatexExtractionConfig(), ExprExtractionConfig())
    wanted = parse(f"${', '.join(gold.answers)}$", extraction_config=configs, parsing_timeout=None)
    # A $ inside of it would make two formulas, of which either could be the right one.
    given = parse(
        f"${answer.replace('$', ' ')}$",
        extraction_config=configs if _NAMED_NUMBER.fullmatch(answer) else configs[:1],
        parsing_timeout=None,
    )
    if not wanted or not given or isinstance(given[0], str):
        return False, "unreadable"
    if not verify(wanted, given, timeout_seconds=None, raise_on_error=True):
        return False, "sympy"
    return (True, "sympy") if _all_finite(given[0]) else (False, "no_value")


def _all_finite(value: Any) -> bool:
    """Whether what is added and multiplied has values: a divergent sum less itself is not 0."""
    from sympy import AccumBounds, Integral, Limit, Product, S, Sum, nan, zoo

    kinds = (Sum, Product, Integral, Limit)
    if not hasattr(value, "atoms") or isinstance(value, kinds):
        return True
    parts = [part.doit() for part in value.atoms(*kinds)]
    return not any(part.has(S.Infinity, S.NegativeInfinity, zoo, nan, AccumBounds) for part in parts)


def _limits(text: str) -> list[str]:
    """Return what the limits of a text run to, each in one spelling."""
    return [unspaced(limit).replace("\\rightarrow", "\\to").replace("\\to+", "\\to") for limit in _LIMIT.findall(text)]
