"""Words and files into typed dataclasses: the right type or one line, never a value that is silently dropped."""

import contextlib
import json
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.errors import UserError
from tbrm_bench.plan import Settings
from tbrm_bench.settings import parse_settings
from tbrm_bench.tomlio import did_you_mean, load_toml


@dataclass(frozen=True)
class Inner:
    size: int
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    title: str
    inner: Inner
    mode: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    flag: bool = False
    limit: int | None = None


GOOD = 'title = "t"\n[inner]\nsize = 3\n'


def load(tmp_path: Path, text: str, *overrides: str) -> Outer:
    file = tmp_path / "my.toml"
    file.write_text(text)
    return load_toml(file, Outer, overrides=overrides)


def test_defaults_are_those_of_the_class() -> None:
    assert parse_settings(Settings, []) == Settings()


@given(st.integers(), st.sampled_from(["float32", "bfloat16", "float16", "auto"]), st.booleans())
def test_words_become_their_types(seed: int, dtype: str, trust: bool) -> None:
    found = parse_settings(Settings, [f"seed={seed}", f"dtype={dtype}", f"trust_remote_code={str(trust).lower()}"])
    assert (found.seed, found.dtype, found.trust_remote_code) == (seed, dtype, trust)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("sed=1", "did you mean 'seed'"),
        ("seed", "not key=value"),
        ("seed=1.5", "'1.5' is not of type int"),
        ("trust_remote_code=yes", "not one of true, false"),
        ("dtype=int8", "not one of auto, float32"),
        ("=3", "no key ''"),
    ],
)
def test_a_word_that_does_not_fit_is_one_line(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_settings(Settings, [word])


def test_none_stands_for_no_value_where_there_may_be_none() -> None:
    assert parse_settings(Settings, ["max_num_seqs=4", "max_num_seqs=none"]).max_num_seqs is None
    with pytest.raises(UserError, match="tensor_parallel=none"):
        parse_settings(Settings, ["tensor_parallel=none"])


@given(st.text())
def test_any_word_is_a_setting_or_a_mistake_that_is_told(word: str) -> None:
    for text in (word, f"seed={word}", f"dtype={word}", f"trust_remote_code={word}"):
        with contextlib.suppress(UserError):
            assert isinstance(parse_settings(Settings, [text]), Settings)


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("sed", ["seed", "dtype"], "did you mean 'seed'?"),
        ("task_c", ["task_a", "other", "task_b"], "did you mean 'task_a' or 'task_b'?"),
        ("zzz", ["b", "a"], "there is: a, b"),
        ("zzz", [], "there is: nothing"),
    ],
)
def test_the_nearest_names_are_named(name: str, known: list[str], said: str) -> None:
    assert did_you_mean(name, known) == said
    assert did_you_mean(name, reversed(known)) == said


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "eval.md").read_text()
    for field in fields(Settings):
        assert f"`{field.name}`" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "sise = 4\n", r"\[inner\] has no key 'sise'; did you mean 'size'"),
        ("titel = 'x'\n" + GOOD, "did you mean 'title'"),
        ('title = "t"\n', "lacks the key 'inner'"),
        ('title = "t"\n[inner]\n', "lacks the key 'size'"),
        ("title = 3\n[inner]\nsize = 3\n", "not a string"),
        ('title = "t"\n[inner]\nsize = 3.0\n', "not an integer"),
        ('title = "t"\n[inner]\nsize = true\n', "not an integer"),
        ('title = "t"\n[inner]\nsize = "3"\n', "not an integer"),
        ('mode = "c"\n' + GOOD, "not one of a, b"),
        ('names = "x"\n' + GOOD, "not an array"),
        ("names = [1]\n" + GOOD, "not a string"),
        ("flag = 1\n" + GOOD, "not true or false"),
        ('title = "t"\ninner = 3\n', "not a table"),
        ("title = ", "not valid TOML"),
        ("title = 't'\ntitle = 'u'\n" + GOOD[13:], "not valid TOML"),
        ("x = " + "[" * 100_000, "not valid TOML"),
        ("title = 1979-05-27\n[inner]\nsize = 3\n", "not a string"),
        ("names = ['a', 1]\n" + GOOD, r"\[names\.1\] is 1, not a string"),
        (GOOD + "rate = '0.5'\n", r"\[inner\.rate\] is '0\.5', not a number"),
        (GOOD + "[inner.more]\nx = 1\n", "has no key 'more'"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        load(tmp_path, text)
    assert "my.toml" in str(caught.value)


def test_an_integer_may_stand_for_a_float_and_nothing_else_is_changed(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD + "rate = 2\n")
    assert found == Outer("t", Inner(3, 2.0))
    assert type(found.inner.rate) is float


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("inner.size=4", Outer("t", Inner(4))),
        ("title=a b = c", Outer("a b = c", Inner(3))),
        ('title="quoted"', Outer("quoted", Inner(3))),
        ("names=['x', 'y']", Outer("t", Inner(3), names=("x", "y"))),
        ("limit=5", Outer("t", Inner(3), limit=5)),
        ("title=x\nflag = true", Outer("x\nflag = true", Inner(3))),
        ('title="x"\nflag = true', Outer('"x"\nflag = true', Inner(3))),
    ],
)
def test_overrides_replace_one_value(tmp_path: Path, word: str, expected: Outer) -> None:
    assert load(tmp_path, GOOD, word) == expected


@pytest.mark.parametrize(
    ("word", "said"),
    [("inner.sise=1", "did you mean"), ("title.x=1", "not a table"), ("inner", "not key=value"), ("inner=3", "table")],
)
def test_overrides_are_checked_like_the_file(tmp_path: Path, word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load(tmp_path, GOOD, word)


@given(st.text())
def test_any_override_is_of_the_right_type_or_is_refused(word: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(GOOD)
        file.flush()
        for text in (word, f"title={word}", f"inner={word}", f"inner.size={word}", f"{word}=1"):
            with contextlib.suppress(UserError):
                found = load_toml(Path(file.name), Outer, overrides=[text])
                assert (type(found.title), type(found.inner.size)) == (str, int)


@given(
    title=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")),
    size=st.integers(),
    flag=st.booleans(),
)
def test_what_is_written_as_toml_is_read_back(title: str, size: int, flag: bool) -> None:
    """JSON's strings, integers and booleans are TOML's, but for DEL and halves of surrogate pairs."""
    words = [f"title={json.dumps(title, ensure_ascii=False)}", f"inner.size={size}", f"flag={json.dumps(flag)}"]
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(GOOD)
        file.flush()
        found = load_toml(Path(file.name), Outer, overrides=words)
    assert (found.title, found.inner.size, found.flag) == (title, size, flag)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_toml(tmp_path / "gone.toml", Outer)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid TOML"):
        load_toml(tmp_path / "binary.toml", Outer)


def read(cls: type, tmp_path: Path, **given_fields: Any) -> Any:
    (tmp_path / "g.toml").write_text(GOOD)
    return load_toml(tmp_path / "g.toml", cls, **given_fields)


def test_a_field_that_is_given_is_not_the_files_to_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no key 'title'"):
        read(Outer, tmp_path, title="given")
