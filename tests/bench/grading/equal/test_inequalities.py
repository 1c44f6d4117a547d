"""Inequalities and chains of them: turned round, scaled, and which way they point."""

from itertools import permutations

from hypothesis import assume, given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.records import Status

LETTERS = ("a", "b", "f(1)", "f(2)", "x_1")
SIGNS = {"<": ">", r"\le": r"\ge"}
NUMBERS = st.integers(-20, 20)


def is_right(answer: str, gold: str) -> bool:
    return grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT


@given(
    names=st.lists(st.sampled_from(LETTERS), min_size=2, max_size=4, unique=True),
    data=st.data(),
    signs=st.lists(st.sampled_from(sorted(SIGNS)), min_size=3, max_size=3),
)
def test_a_chain_says_the_same_from_its_other_end_and_nothing_else_does(
    names: list[str], data: st.DataObject, signs: list[str]
) -> None:
    def chain(order: list[str], own: list[str]) -> str:
        return order[0] + "".join(f" {sign} {name}" for sign, name in zip(own, order[1:], strict=False))

    gold = chain(names, signs)
    turned = [SIGNS[sign] for sign in signs]
    used = signs[: len(names) - 1]
    assert is_right(chain(names[::-1], [SIGNS[sign] for sign in used[::-1]]), gold)
    assert not is_right(chain(names, turned), gold)
    order = data.draw(st.sampled_from(list(permutations(names))))
    assert is_right(chain(list(order), signs), gold) == (list(order) == names)


@given(factor=NUMBERS, shift=NUMBERS, bound=NUMBERS, sign=st.sampled_from(sorted(SIGNS)))
def test_a_scaled_inequality_is_the_same_half_line(factor: int, shift: int, bound: int, sign: str) -> None:
    assume(factor)
    own = sign if factor > 0 else SIGNS[sign]
    scaled = f"{factor}x {shift:+d} {own} {factor * bound + shift}"
    assert is_right(scaled, f"x {sign} {bound}")
    assert is_right(f"x {sign} {bound}", scaled)
    assert not is_right(scaled.replace(own, SIGNS.get(own, "<" if own == ">" else r"\le")), f"x {sign} {bound}")
    assert not is_right(f"{factor}x {shift:+d} {own} {factor * bound + shift + 1}", f"x {sign} {bound}")


@given(low=NUMBERS, length=st.integers(1, 20), factor=st.integers(1, 9), far=st.integers(1, 9))
def test_conditions_joined_by_or_are_a_union(low: int, length: int, factor: int, far: int) -> None:
    high, point = low + length, low + length + far
    gold = rf"[{low}, {high}) \cup \{{{point}\}}"
    assert is_right(rf"{factor * low} \le {factor}x < {factor * high} \text{{ or }} x = {point}", gold)
    assert is_right(rf"x = {point} \text{{ or }} {low} \le x < {high}", gold)
    assert not is_right(rf"{low} \le x < {high} \text{{ or }} y = {point}", gold)
    assert not is_right(rf"{low} \le x < {high} \text{{ or }} x = {point + 1}", gold)
    assert not is_right(rf"{low} < x < {high} \text{{ or }} x = {point}", gold)
