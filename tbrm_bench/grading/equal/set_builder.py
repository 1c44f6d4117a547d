r"""Sets of points that fulfil a condition, whatever their letters are called.

\{(a, b) : ab \ge 1\}      \{(x, y) \mid xy \ge 1\}, ab \ge 1
"""

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.equal.left_sides import renamed
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import Tree, items_of, symbols


def compare_described(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare where at least one side is a set by its condition; the condition alone says the same."""
    if gold[0] == pred[0]:
        letters = [[str(cell[1]) for cell in tree[1][3:] if cell[0] == "s"] for tree in (gold, pred)]
        if len({len(gold[1]), len(pred[1]), *(len(row) + 3 for row in letters)}) != 1:
            return False, "set"
        if (set(letters[0]) - set(letters[1])) & symbols(pred[2]):
            return False, "set"  # \\{(k, b) : ab \\ge 1\\} is about another a
        pred = renamed(pred[2], dict(zip(letters[1], letters[0], strict=True)))
    elif pred[0] == "such":
        pred = pred[2]
    golds = items_of(gold[2]) if gold[0] == "such" else (gold,)
    return comparer.as_written(golds, pred)
