"""Laws of results.json: nothing is lost on the way there and back, nothing unknown comes in."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.errors import UserError
from tbrm_bench.records import MacroScore, RunResult, Status, TaskScore
from tbrm_bench.run.result_json import result_from_json, result_to_json

NAN = math.nan
numbers = st.one_of(st.floats(allow_infinity=False), st.just(NAN))
counts = st.integers(0, 2**40)
names = st.text(max_size=20)
by_k = st.lists(numbers, max_size=5).map(lambda values: dict(enumerate(values, start=1)))
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
task_scores = st.builds(
    TaskScore,
    task=names,
    **dict.fromkeys(
        ["num_problems", "num_clusters", "num_samples", "num_missing", "num_ungraded", "max_tokens"], counts
    ),
    **dict.fromkeys(
        ["avg", "se", "ci_low", "ci_high", "sampling_sd", "maj", "maj_se", "cap_rate", "mean_tokens"], numbers
    ),
    pass_at=by_k,
    pass_at_se=by_k,
    status_rates=st.lists(numbers, min_size=len(Status), max_size=len(Status)).map(
        lambda rates: dict(zip(Status, rates, strict=True))
    ),
)
macros = st.builds(MacroScore, pass_at=by_k, **dict.fromkeys(["avg", "se", "ci_low", "ci_high", "maj"], numbers))
results = st.builds(
    RunResult,
    name=names,
    lock_hash=names,
    grader=names,
    tasks=st.lists(task_scores, max_size=2).map(tuple),
    macro=macros,
    about=st.dictionaries(names, json_data, max_size=3),
)


@given(results)
@settings(max_examples=60, deadline=None)
def test_there_and_back_loses_nothing(result: RunResult) -> None:
    text = result_to_json(result)
    back = result_from_json(text)
    assert repr(back) == repr(result)  # repr, as NaN is not equal to itself; floats print with every bit
    assert result_to_json(back) == text


def example() -> dict[str, Any]:
    pass_at, rates = {1: 0.5, 2: 0.75}, dict.fromkeys(Status, 0.0)
    score = TaskScore("toy", 3, 3, 2, 0, 0, 0.5, 0.1, 0.3, 0.7, NAN, pass_at, pass_at, 0.5, 0.1, rates, 0.0, 9.5, 12)
    result = RunResult("run", "123", "g", (score,), MacroScore(0.5, 0.1, 0.3, 0.7, pass_at, 0.5), {"note": None})
    data: dict[str, Any] = json.loads(result_to_json(result))
    return data


def test_undefined_is_null_in_scores_and_about_is_left_alone() -> None:
    data = example()
    assert data["tasks"][0]["sampling_sd"] is None
    back = result_from_json(json.dumps(data))
    assert math.isnan(back.tasks[0].sampling_sd)
    assert back.about == {"note": None}


def broken(path: str, value: Any) -> str:
    """Return the example with one value set; `path` is dotted."""
    data = example()
    *parents, last = path.split(".")
    place: Any = data
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if value is DELETE:
        del place[last]
    else:
        place[last] = value
    return json.dumps(data)


DELETE = object()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("grade", "g", "results.json has no key 'grade'"),
        ("tasks.0.pass_att", {}, "[tasks.0] has no key 'pass_att'"),
        ("macro.zzz", 1, "[macro] has no key 'zzz'"),
        ("tasks.0.se", DELETE, "[tasks.0] lacks the key 'se'"),
        ("about", DELETE, "results.json lacks the key 'about'"),
        ("schema", 2, "schema 2, this version reads 1"),
        ("schema", True, "schema true"),
        ("schema", DELETE, "schema null"),
        ("name", 5, "name: 5 is not a string"),
        ("tasks", {}, "tasks: {} is not an array"),
        ("tasks.0.num_missing", None, "num_missing: nan is not a whole number"),
        ("tasks.0.num_missing", True, "num_missing: true"),
        ("tasks.0.num_missing", 1.5, "num_missing: 1.5"),
        ("tasks.0.avg", "0.5", "avg: '0.5' is not a number"),
        ("tasks.0.avg", float("nan"), "NaN is not JSON"),
        ("tasks.0.avg", False, "avg: false"),
        ("tasks.0.avg", 10**400, "is beyond the range of numbers"),
        ("tasks.0.pass_at", {"1": 0.5, "3": 0.5}, "tasks.0.pass_at has the keys 1, 3"),
        ("tasks.0.pass_at.2", "x", "tasks.0.pass_at.2: 'x' is not a number"),
        ("tasks.0.status_rates.correct", DELETE, "tasks.0.status_rates has the keys"),
        ("macro.pass_at", [], "macro.pass_at: [] is not a table"),
    ],
)
def test_what_does_not_belong_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        result_from_json(broken(path, value))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "it is [] and not a JSON object"),
        ('{"schema": 1, "schema": 1}', "'schema' is in one object twice"),
        ('{"schema": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        (json.dumps(example())[:-5], "cannot be read as JSON"),
    ],
)
def test_what_is_not_a_result_is_said_so(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        result_from_json(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_json_cannot_hold_is_refused_on_the_way_out() -> None:
    result = RunResult("run", "123", "g", (), MacroScore(NAN, NAN, NAN, NAN, {}, NAN), {"x": NAN})
    with pytest.raises(ValueError, match="not JSON compliant"):
        result_to_json(result)
