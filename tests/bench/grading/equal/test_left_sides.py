"""A definition is of what its left side names: another order, point or name is another thing."""

from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.records import Status

ORDERS = ("f(x)", "f'(x)", "f''(x)", "f^{-1}(x)")
RIGHT_SIDES = ("2x", "x^2-1", r"\frac{x}{3}", r"\sin x", "5")


def is_right(answer: str, gold: str) -> bool:
    return grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT


@given(gold=st.sampled_from(ORDERS), pred=st.sampled_from(ORDERS), right=st.sampled_from(RIGHT_SIDES))
def test_orders_are_never_mixed_up(gold: str, pred: str, right: str) -> None:
    assert is_right(f"{pred}={right}", f"{gold}={right}") == (gold == pred)
    assert is_right(right, f"{gold}={right}")


@given(gold=st.integers(-9, 9), pred=st.integers(-9, 9), value=st.integers(-9, 9), name=st.sampled_from("fgPS"))
def test_a_value_is_of_its_point(gold: int, pred: int, value: int, name: str) -> None:
    assume_named = [f"{name}({point})={value}" for point in (gold, pred)]
    assert is_right(assume_named[1], assume_named[0]) == (gold == pred)
    assert is_right(str(value), assume_named[0])


@given(letters=st.permutations("abstuv"), swapped=st.booleans())
def test_arguments_may_have_any_letters_in_their_order(letters: list[str], swapped: bool) -> None:
    first, second = letters[:2]
    right = f"{second}-{first}^2" if swapped else f"{first}-{second}^2"
    assert is_right(f"f({first},{second})={right}", "f(x,y)=x-y^2") != swapped


@given(gold=st.integers(1, 3), pred=st.integers(1, 3))
def test_derivatives_have_their_order_however_they_are_written(gold: int, pred: int) -> None:
    def quotient(order: int) -> str:
        return r"\frac{dy}{dx}=y+1" if order == 1 else rf"\frac{{d^{order}y}}{{dx^{order}}}=y+1"

    assert is_right(quotient(pred), quotient(gold)) == (gold == pred)
    assert is_right("y" + "'" * pred + "=y+1", quotient(gold)) == (gold == pred)
