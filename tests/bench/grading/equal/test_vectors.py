"""Vectors in unit vectors are their coordinates, in whatever face the unit vectors are set."""

from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.records import Status

FACES = (
    (r"\mathbf{i}", r"\mathbf{j}", r"\mathbf{k}"), (r"\hat{i}", r"\hat{j}", r"\hat{k}"), ("i", "j", "k"),
    (r"\hat{\imath}", r"\hat{\jmath}", r"\hat{k}"), (r"\vec{i}", r"\vec{j}", r"\vec{k}"),
    (r"\hat{\mathbf{i}}", r"\hat{\mathbf{j}}", r"\hat{\mathbf{k}}"),
)  # fmt: skip
COORDINATES = st.tuples(*[st.integers(-9, 9).filter(bool)] * 3)


def is_right(answer: str, gold: str) -> bool:
    return grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT


def in_units(row: tuple[int, ...], face: tuple[str, ...]) -> str:
    return "".join(f"{value:+d}{unit}" for value, unit in zip(row, face, strict=True)).removeprefix("+")


@given(gold=COORDINATES, pred=COORDINATES, face=st.sampled_from(FACES), other=st.sampled_from(FACES[:2]))
def test_coordinates_decide(
    gold: tuple[int, ...], pred: tuple[int, ...], face: tuple[str, ...], other: tuple[str, ...]
) -> None:
    column = r"\begin{pmatrix}" + r"\\".join(map(str, gold)) + r"\end{pmatrix}"
    for text in (str(gold), column, in_units(gold, other)):
        assert is_right(in_units(gold, face), text)
        assert is_right(in_units(pred, face), text) == (gold == pred)
    assert is_right(str(gold), in_units(gold, other))


@given(real=st.integers(-9, 9).filter(bool), imaginary=st.integers(-9, 9).filter(bool))
def test_a_complex_number_is_no_vector(real: int, imaginary: int) -> None:
    assert not is_right(f"{real}{imaginary:+d}i", f"({real},{imaginary})")
