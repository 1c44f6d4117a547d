"""How the parts that `parse` reads make wholes: sums, products, mixed numbers, joined inequalities."""

from fractions import Fraction

from tbrm_bench.grading.read.tokens import Unreadable
from tbrm_bench.grading.read.tree import Tree, walk


def is_inequality(tree: Tree) -> bool:
    """Whether a tree is an inequality, a chain of them, or a membership."""
    return tree[0] == "chain" or (tree[0] == "rel" and tree[1] in ("<", "<=", ">", ">=", "in"))


def are_conditions(items: list[Tree]) -> bool:
    """Whether items are inequalities, or some of them and equations for what they are about: x < 0 or x = 1."""
    if not all(is_inequality(item) or (item[0] == "rel" and item[1] == "=" and item[2][0] == "s") for item in items):
        return False
    return any(map(is_inequality, items))


def joined(items: list[Tree], joint: str) -> Tree:
    """Return x < 1 or x > 4 as a union, x > 1 and x < 4 as an intersection."""
    if joint in ("or", "vee", "lor"):
        return ("union", *items)
    return ("inter", *items) if joint in ("and", "wedge", "land") else ("list", *items)


def add(total: Tree | None, operator: str, term: Tree) -> Tree:
    """Add a term to a sum; a plus-minus sign makes two values of it."""
    if operator in ("pm", "mp"):
        return ("+-" if operator == "pm" else "-+", total if total is not None else ("n", Fraction(0)), term)
    if operator == "-":
        term = ("n", -term[1]) if term[0] == "n" else ("q", ("-", term[1]), term[2]) if term[0] == "q" else ("-", term)
    if total is None:
        return term
    return (*total, term) if total[0] == "+" else ("+", total, term)


def of_all(total: Tree) -> Tree:
    r"""Return 18 + 2\pi \text{ cm} as that many centimetres: a unit behind a sum is the sum's; a dozen is none."""
    if total[0] != "+" or total[-1][0] != "q" or any(part[0] == "q" for one in total[1:-1] for part in walk(one)):
        return total
    dimensions, factor = unit = total[-1][2]
    if any(name in ("angle", "percent", "count") for name, _ in dimensions) or not (dimensions or factor == 1):
        return total
    return ("q", (*total[:-1], total[-1][1]), unit)


def divide(left: Tree, right: Tree) -> Tree:
    r"""Return a quotient; \frac{270^\circ}{7} is so many degrees."""
    if left[0] == "q" and not any(part[0] == "q" for part in walk(right)):
        return ("q", ("/", left[1], right), left[2])
    return ("/", left, right)


def multiply(left: Tree, right: Tree) -> Tree:
    """Add a factor to a product. Raises Unreadable for a condition, 0 (x = 1), which is none."""
    if right[0] in ("rel", "chain") or (left[0] == "text" and right == ("n", 0)):
        raise Unreadable("a relation, or words times nothing, in a product")
    return (*left, right) if left[0] == "*" else ("*", left, right)


def is_mixed(left: Tree, right: Tree, command: str) -> bool:
    """Whether `left right` is a mixed number such as 1\\frac{4}{5}."""
    return (
        command == "frac"
        and left[0] == "n"
        and right[0] == "/"
        and right[1][0] == right[2][0] == "n"
        and left[1].denominator == right[1][1].denominator == right[2][1].denominator == 1
        and 0 < right[1][1] < right[2][1]
    )
