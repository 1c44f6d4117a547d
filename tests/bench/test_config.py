"""Words and files into typed dataclasses: the right type and range or one line; no value is silently dropped."""

import contextlib
import json
import tempfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt, MinLen
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.config import Place, Spelt, from_table, from_words, load_toml
from tbrm_bench.errors import UserError
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.run.plan import Settings


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


def set_words(*words: str) -> Settings:
    return from_words(words, Settings, place="--set")


def test_defaults_are_those_of_the_class() -> None:
    assert set_words() == Settings()


INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64, st.sampled_from(["float32", "bfloat16", "float16", "auto"]), st.booleans())
def test_words_become_their_types(seed: int, dtype: str, trust: bool) -> None:
    found = set_words(f"seed={seed}", f"dtype={dtype}", f"trust_remote_code={str(trust).lower()}")
    assert (found.seed, found.dtype, found.trust_remote_code) == (seed, dtype, trust)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("sed=1", "did you mean 'seed'"),
        ("seed", "not key=value"),
        ("seed=1.5", "--set seed: 1.5 is not a whole number"),
        ("seed=abc", "--set seed: 'abc' is not a whole number"),
        ("seed=1e3", "1000.0 is not a whole number as it is written; write 1000"),
        ("seed=" + "1" * 5000, "not a whole number"),
        ("seed=0x" + "f" * 5000 + ".", "not a whole number"),
        ("tensor_parallel=0", "--set tensor_parallel is 0; 1 or more is needed"),
        ("trust_remote_code=yes", "not true or false"),
        ("dtype=int8", "not one of auto, float32"),
        ("=3", "not key=value"),
    ],
)
def test_a_word_that_does_not_fit_is_one_line(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        set_words(word)


def test_none_stands_for_no_value_where_there_may_be_none() -> None:
    assert set_words("max_num_seqs=4", "max_num_seqs=none").max_num_seqs is None
    with pytest.raises(UserError, match="--set tensor_parallel: 'none' is not a whole number"):
        set_words("tensor_parallel=none")


@given(st.text())
def test_any_word_is_a_setting_or_a_mistake_that_is_told(word: str) -> None:
    for text in (word, f"seed={word}", f"dtype={word}", f"trust_remote_code={word}"):
        with contextlib.suppress(UserError):
            assert isinstance(set_words(text), Settings)


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("sed", ["seed", "dtype"], "did you mean 'seed'?"),
        ("task_c", ["task_a", "other", "task_b"], "did you mean 'task_a' or 'task_b'?"),
        ("zzz", ["b", "a"], "available: a, b"),
        ("zzz", [], "available: none"),
    ],
)
def test_the_nearest_names_are_named(name: str, known: list[str], said: str) -> None:
    assert did_you_mean(name, known) == said
    assert did_you_mean(name, reversed(known)) == said


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "eval.md").read_text()
    for setting in fields(Settings):
        assert f"`{setting.name}`" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "sise = 4\n", r"\[inner\] has no key 'sise'; did you mean 'size'"),
        ("titel = 'x'\n" + GOOD, "did you mean 'title'"),
        ('title = "t"\n', "lacks the key 'inner'"),
        ('title = "t"\n[inner]\n', "lacks the key 'size'"),
        ("title = 2024\n[inner]\nsize = 3\n", 'title: 2024 is not a string; write "2024", with its quotes'),
        ('title = "t"\n[inner]\nsize = 3.0\n', "not a whole number"),
        ('title = "t"\n[inner]\nsize = true\n', "not a whole number"),
        ('title = "t"\n[inner]\nsize = "3"\n', "not a whole number"),
        ('mode = "c"\n' + GOOD, "not one of a, b"),
        ('names = "x"\n' + GOOD, "not an array"),
        ("names = [1]\n" + GOOD, "not a string"),
        ("flag = 1\n" + GOOD, "not true or false"),
        ('title = "t"\ninner = 3\n', "not a table"),
        ("title = ", "not valid TOML"),
        ("title = 't'\ntitle = 'u'\n" + GOOD[13:], "not valid TOML"),
        ("x = " + "[" * 100_000, "not valid TOML"),
        ("title = 1979-05-27\n[inner]\nsize = 3\n", "not a string"),
        ("names = ['a', 1]\n" + GOOD, r"names\.1: 1 is not a string"),
        (GOOD + "rate = '0.5'\n", r"inner\.rate: '0\.5' is not a number"),
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
        ("title=2024", Outer("2024", Inner(3))),
        ("title=run#2", Outer("run#2", Inner(3))),
        ("title=7 # 2", Outer("7 # 2", Inner(3))),
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
    size=INT64,
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


def test_a_mark_of_the_byte_order_at_the_start_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "marked.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_toml(tmp_path / "marked.toml", Outer) == Outer("t", Inner(3))


def read(cls: type, tmp_path: Path, **given_fields: Any) -> Any:
    (tmp_path / "g.toml").write_text(GOOD)
    return load_toml(tmp_path / "g.toml", cls, **given_fields)


def test_a_field_that_is_given_is_not_the_files_to_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no key 'title'"):
        read(Outer, tmp_path, title="given")


@dataclass(frozen=True)
class Rates:
    learning_rate: Annotated[float, Gt(0)] = 1.0
    betas: tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]] = (0.5, 0.5)
    share: Annotated[float, Ge(0), Le(1)] | None = None
    stage: Literal[0, 1] = 0
    seed: Annotated[int, Ge(0)] = 0
    title: Annotated[str, MinLen(1)] = "t"
    dtype: Annotated[Literal["float16", "none"], Spelt(lambda text: text.replace("fp", "float"))] = "none"


@dataclass(frozen=True)
class Training:
    optimizer: Rates = Rates()
    other: Inner = Inner(1)
    names: dict[str, Inner] = field(default_factory=dict)


@given(st.floats() | st.integers() | st.booleans())
def test_a_range_holds_what_python_says_it_holds(value: Any) -> None:
    def holds(key: str, inside: bool) -> None:
        if inside:
            wanted = value if key in ("seed", "stage") else float(value)  # which rounds 2**53 + 1
            assert getattr(from_table({key: value}, Rates, place="x.toml"), key) == wanted
            return
        with pytest.raises(UserError, match=f"x.toml: {key}"):
            from_table({key: value}, Rates, place="x.toml")

    is_number = not isinstance(value, bool) and abs(value) < float("inf")
    holds("share", is_number and 0 <= value <= 1)
    holds("learning_rate", is_number and value > 0 and value <= 1.8e308)
    holds("seed", type(value) is int and 0 <= value < 2**63)
    holds("stage", type(value) is int and value in (0, 1))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("learning_rate=nan", "--set learning_rate is nan; more than 0 is needed"),
        ("learning_rate=inf", "--set learning_rate is inf; more than 0 is needed"),
        ("learning_rate=1" + "0" * 400, "beyond the range of numbers"),
        ("betas=[0.9]", "--set betas is [0.9]; 2 values are needed"),
        ("betas=[0.9, 1.0]", "--set betas.1 is 1.0; 0 or more and below 1 is needed"),
        (f"seed={2**63}", "a whole number from -2**63 to 2**63 - 1 is needed"),
        ("seed=-1", "--set seed is -1; 0 or more is needed"),
        ("seed=1 # why", "'1 # why' is not a whole number"),
        ("title=\udcff", "is not text that UTF-8 can hold"),
        ("stage=true", "true is not one of 0, 1"),
        ("title=", "--set title is empty; give it a value"),
        ("dtype=flaot16", "is not one of float16, none; did you mean 'float16'?"),
        ("seed=0x" + "f" * 5000, "too large to print"),
    ],
)
def test_what_is_out_of_range_is_one_line(word: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        from_words([word], Rates, place="--set")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


def test_none_and_other_spellings() -> None:
    found = from_words(["share=0.5", "share=none", "title=none", "dtype=fp16"], Rates, place="--set")
    assert (found.share, found.title, found.dtype) == (None, "none", "float16")
    assert from_words(["dtype=none"], Rates, place="--set") == Rates()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"lr": 1}, "g.toml has no key 'lr'; did you mean optimizer.learning_rate?"),
        ({"beta": 1}, "g.toml has no key 'beta'; did you mean optimizer.betas?"),
        ({"optimizer": {"lr": 1}}, "g.toml: [optimizer] has no key 'lr'; did you mean 'learning_rate'?"),
        ({"optimizer": {"size": 1}}, "g.toml: [optimizer] has no key 'size'; did you mean other.size?"),
        ({"names": {"a\x1b[31m": {"size": "x"}}}, r"g.toml: names.'a\x1b[31m'.size: 'x' is not a whole number"),
        ({"names": {"a": {"sise": 1}}}, "g.toml: [names.a] has no key 'sise'; did you mean 'size'?"),
        ({"optimiser": {}}, "did you mean 'optimizer'?"),
        ({"zzz": 1}, "available: optimizer, other, names"),
    ],
)
def test_the_nearest_key_is_found_in_other_tables_too(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        from_table(table, Training, place="g.toml")
    assert said in str(caught.value)


def test_a_stored_file_of_a_newer_version_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"run\.json has no key 'new'; use the version that wrote it"):
        from_table({"new": 1}, Training, place=Place("run.json", fix="use the version that wrote it"))
