"""What other programs hand over: golds in every shape, completions as texts and messages, options under their names."""

import logging
import math
from typing import Any

import pytest
from own_environment import blocks

from tbrm_bench.adapters import answers, lm_eval, trl, verl
from tbrm_bench.adapters.answers import Marking, gold_from, score_of
from tbrm_bench.errors import UserError
from tbrm_bench.records import Gold, Grade, GradingPolicy, Status

HALF = r"so it is \boxed{0.5}."


@pytest.mark.parametrize(
    ("value", "gold"),
    [
        ("073", Gold(("073",))),
        (r"$\frac12$", Gold((r"\frac12",))),
        ("4, 9", Gold(("4", "9"))),
        (["4", "9"], Gold(("4", "9"))),
        (27.0, Gold(("27",))),
        (r"Add: $1+1=\boxed{2}$, done.", Gold(("2",))),
        ({"answers": "1/2", "alternatives": [r"50\%", "1/2"]}, Gold(("1/2",), alternatives=((r"50\%",),))),
        ({"answers": ["1", "2"], "alternatives": [["3", "4"]]}, Gold(("1", "2"), alternatives=(("3", "4"),))),
        ({"answers": "12", "unit": "cm", "abs_tolerance": 0.5}, Gold(("12",), unit="cm", abs_tolerance=0.5)),
        (Gold(("7",), kind="integer"), Gold(("7",), kind="integer")),
    ],
)
def test_an_answer_is_read_in_whatever_shape_it_comes(value: Any, gold: Gold) -> None:
    assert gold_from(value) == gold


@pytest.mark.parametrize(
    "value", [None, math.nan, "", "nan", [], {"answer": "1"}, {"answers": None}, r"so \boxed{1", "7 #### 7"]
)
def test_what_is_no_gold_is_refused(value: Any) -> None:
    with pytest.raises(UserError):
        gold_from(value)


def test_the_page_s_example_is_right() -> None:
    (block,) = blocks("grading-elsewhere.md", "Anything else", "python")
    *lines, claim = block.strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*lines, f"found = {claim}"]), names)
    assert names["found"] is True


def test_an_array_is_a_list() -> None:
    numpy = pytest.importorskip("numpy")
    assert gold_from(numpy.array(["1", "2"])) == Gold(("1", "2"))
    row = {"answers": "1", "alternatives": numpy.array(["2", "3"]), "unit": None, "kind": None}
    assert gold_from(row) == Gold(("1",), alternatives=(("2",), ("3",)))


def test_verl_gets_numbers_and_its_options_reach_the_grader() -> None:
    assert verl.compute_score("maths", HALF, r"\frac12", {"index": 3}) == 1.0
    assert verl.compute_score(data_source="maths", solution_str="I guess 0.5", ground_truth="1/2") == 0.0
    assert verl.compute_score("maths", "The answer is 0.5", "1/2", strict_boxed=False) == 1.0
    assert verl.compute_score("maths", r"\boxed{12}", r"12 \text{ cm}", policy={"missing_unit": False}) == 0.0
    assert verl.compute_score("maths", r"\boxed{14}", "7 + 7 = 14 #### 14", gold_rule="gsm8k") == 1.0
    with pytest.raises(TypeError):
        verl.compute_score("maths", HALF, "1/2", strict_box=True)  # type: ignore[call-arg]
    with pytest.raises(UserError, match="missing_unit"):
        verl.compute_score("maths", HALF, "1/2", policy={"missing_units": False})


def test_verl_logs_the_verdict_beside_the_score() -> None:
    assert verl.compute_score_and_verdict("maths", HALF, "1/2") == {
        "score": 1.0,
        "acc": 1.0,
        "pred": "0.5",
        "grader_error": 0.0,
    }


@pytest.mark.parametrize(
    "completion",
    [
        HALF,
        [{"role": "assistant", "content": HALF}],
        [{"role": "assistant", "content": "Let me look."}, {"role": "tool", "content": "2"}, {"content": HALF}],
        [{"role": "assistant", "reasoning_content": r"\boxed{7}", "content": [{"type": "text", "text": HALF}]}],
    ],
)
def test_trl_completions_are_texts_or_messages(completion: Any) -> None:
    assert trl.tbrm_reward(prompts=["?"], completions=[completion], completion_ids=[[1]], answer=["1/2"]) == [1.0]
    assert trl.tbrm_reward(completions=[completion], answer=["1/3"]) == [0.0]


def test_a_thought_or_an_empty_completion_earns_nothing() -> None:
    silent: list[Any] = ["", [], [{"role": "assistant", "content": None}], r"<think>\boxed{7}"]
    assert trl.tbrm_reward(completions=silent, answer=["7"] * 4) == [0.0] * 4


def test_trl_rows_without_a_gold_have_no_reward() -> None:
    told: dict[str, list[str]] = {}
    rewards = trl.tbrm_reward(
        completions=[r"\boxed{1}"] * 4,
        answer=["1", None, math.nan, "2"],
        log_extra=told.__setitem__,
        trainer_state=None,
    )
    assert rewards == [1.0, None, None, 0.0]
    assert told == {"verdict": ["correct", "no gold", "no gold", "wrong"]}


def test_trl_takes_a_named_column_and_alternatives() -> None:
    reward = trl.reward_function(column="final", strict_boxed=False, name="maths")
    assert reward.__name__ == "maths"
    columns = {"final": ["1/2", "1/2"], "alternatives": [["7"], None], "answer": ["9", "9"]}
    assert reward(completions=["The answer is 7.", "The answer is 7."], **columns) == [1.0, 0.0]
    with pytest.raises(UserError, match=r"no column final among target"):
        reward(completions=["7"], target=["7"])


def test_lm_eval_gets_a_share_or_the_verdict_on_one_document() -> None:
    assert lm_eval.tbrm(references=["1/2"], predictions=["The answer is 0.5"]) == 1.0
    assert lm_eval.tbrm(["1/2", "3"], [HALF, "4"]) == 0.5
    assert lm_eval.tbrm(["1/2"], ["The answer is 0.5"], strict_boxed=True) == 0.0
    assert lm_eval.process_results({"question": "?", "answer": "1/2"}, [HALF]) == {"tbrm": 1.0}
    assert lm_eval.process_results({"answer": "1/2", "alternatives": ["7"]}, ["7"]) == {"tbrm": 1.0}
    with pytest.raises(UserError, match="doc_to_target"):
        lm_eval.process_results({"question": "?"}, [HALF])


def test_a_grader_that_fails_is_no_wrong_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Grade(Status.ERROR, "7", "exception:ValueError")
    monkeypatch.setattr(answers._pool, "verdict", lambda *_, **__: broken)
    with caplog.at_level(logging.WARNING):
        assert trl.tbrm_reward(completions=["7"], answer=["7"]) == [None]
        assert math.isnan(lm_eval.process_results({"answer": "7"}, ["7"])["tbrm"])
        assert verl.compute_score_and_verdict("", "7", "7")["grader_error"] == 1.0
        assert (verl.compute_score("", "7", "7"), lm_eval.tbrm(["7"], ["7"])) == (0.0, 0.0)
    assert len(caplog.records) == 5
    assert "exception:ValueError" in caplog.text


@pytest.mark.parametrize("status", Status)
def test_only_the_grader_s_own_failure_leaves_a_reward_out(status: Status) -> None:
    score = score_of(Grade(status, None, ""))
    assert score == {Status.CORRECT: 1.0, Status.ERROR: None}.get(status, 0.0)


def test_a_policy_is_a_table_or_an_object() -> None:
    pair = (r"\boxed{35}", r"35\%")
    for policy in (GradingPolicy(missing_percent=False), {"missing_percent": False}):
        assert [grade.status for grade in Marking(policy=policy).grades([pair])] == [Status.WRONG]
    assert [grade.status for grade in Marking().grades([pair])] == [Status.CORRECT]
