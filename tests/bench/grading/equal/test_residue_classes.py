"""Congruences are equal where the whole numbers that fulfil them are, and only there."""

from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.records import Status

MODULI = st.integers(2, 40)
SPELLINGS = (
    r"n \equiv {r} \pmod{{{m}}}", r"n = {r} \text{{ (mod {m})}}", r"n \equiv {r} (mod {m})", r"n \bmod {m} = {r}",
    r"n \equiv {r} \mod {m}", r"{r} \pmod {m}", r"n+1 \equiv {r}+1 \pmod{{{m}}}",
)  # fmt: skip


def is_right(answer: str, gold: str) -> bool:
    return grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT


@given(modulus=MODULI, residue=st.integers(-50, 50), spelling=st.sampled_from(SPELLINGS), shift=st.integers(-3, 3))
def test_residues_count_modulo_the_modulus(modulus: int, residue: int, spelling: str, shift: int) -> None:
    gold = rf"n \equiv {residue} \pmod{{{modulus}}}"
    assert is_right(spelling.format(r=residue + shift * modulus, m=modulus), gold)


@given(modulus=MODULI, residue=st.integers(-50, 50), other=st.integers(-50, 50), spelling=st.sampled_from(SPELLINGS))
def test_another_residue_is_wrong(modulus: int, residue: int, other: int, spelling: str) -> None:
    gold = rf"n \equiv {residue} \pmod{{{modulus}}}"
    is_same = (residue - other) % modulus == 0
    assert is_right(spelling.format(r=other, m=modulus), gold) == is_same


@given(modulus=MODULI, other=MODULI, residue=st.integers(0, 50))
def test_another_modulus_is_wrong(modulus: int, other: int, residue: int) -> None:
    gold = rf"n \equiv {residue} \pmod{{{modulus}}}"
    assert is_right(rf"n \equiv {residue} \pmod{{{other}}}", gold) == (modulus == other)


@given(modulus=MODULI, residue=st.integers(0, 50), factor=st.integers(2, 5))
def test_a_class_is_its_classes_of_a_multiple(modulus: int, residue: int, factor: int) -> None:
    gold = rf"n \equiv {residue} \pmod{{{modulus}}}"
    parts = [residue + step * modulus for step in range(factor)]
    many = ", ".join(map(str, parts))
    assert is_right(rf"n \equiv {many} \pmod{{{factor * modulus}}}", gold)
    assert not is_right(rf"n \equiv {parts[0]} \pmod{{{factor * modulus}}}", gold)


@given(modulus=st.integers(2, 30), residue=st.integers(-30, 30), other=st.integers(-30, 30))
def test_a_form_is_a_class(modulus: int, residue: int, other: int) -> None:
    form = f"n={modulus}k{other:+d}" if other else f"n={modulus}k"
    same = (residue - other) % modulus == 0
    assert is_right(form, rf"n \equiv {residue} \pmod{{{modulus}}}") == same
    assert is_right(rf"n \equiv {residue} \pmod{{{modulus}}}", form) == same


@given(value=st.integers(0, 200), modulus=st.integers(2, 60), gold=st.integers(0, 60))
def test_a_remainder_is_a_number(value: int, modulus: int, gold: int) -> None:
    assert is_right(rf"{value} \bmod {modulus}", str(gold)) == (value % modulus == gold)
