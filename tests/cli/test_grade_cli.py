"""`tbench grade`: lines of JSON as a conversation, a second opinion on a stored run, the reasons of a verdict."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.grading import grade, grade_many

COMMAND = [sys.executable, "-m", "tbrm_bench", "grade"]


def grade_jsonl(lines: Sequence[str | bytes], *words: str) -> tuple[int, list[dict[str, Any]]]:
    data = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines) + b"\n"
    done = subprocess.run([*COMMAND, "--jsonl", *words], input=data, capture_output=True, check=False, timeout=120)
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def question(gold: Any, prediction: Any, **more: Any) -> str:
    return json.dumps({"gold": gold, "prediction": prediction, **more})


def test_each_line_is_answered_in_order_with_its_id() -> None:
    golds = [r"2\sqrt{3}", "7", r"\frac12", "12"] * 20  # some need a worker, some do not
    answers = [r"\sqrt{12}", "8", "0.5", r"thus \boxed{12}"] * 20
    code, replies = grade_jsonl([question(g, a, id=i) for i, (g, a) in enumerate(zip(golds, answers, strict=True))])
    assert code == 0
    assert [reply["id"] for reply in replies] == list(range(80))
    assert [reply["correct"] for reply in replies] == [True, False, True, True] * 20
    assert set(replies[0]) == {"id", "correct", "status", "extracted", "rule"}


def test_it_says_what_the_library_says() -> None:
    pairs = [("x = 3", "3"), ("I do not know", "3"), (r"\boxed{3", "3"), ("3 or 4", "3"), (r"\boxed{5}\%", "5")]
    _, replies = grade_jsonl([question(gold, prediction) for prediction, gold in pairs])
    for reply, (prediction, gold), streamed in zip(replies, pairs, grade_many(pairs), strict=True):
        verdict = grade(prediction, gold)
        assert verdict == streamed
        assert (reply["status"], reply["extracted"], reply["rule"]) == (
            verdict.status,
            verdict.extracted,
            verdict.rule,
        )


def test_a_line_is_answered_while_the_next_is_awaited() -> None:
    """A trainer keeps the pipe open: send a line, read its verdict, send the next."""
    with subprocess.Popen([*COMMAND, "--jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for gold, prediction, correct in (("1/2", "0.5", True), (r"\sqrt8", r"2\sqrt2", True), ("3", "4", False)):
            process.stdin.write(question(gold, prediction) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["correct"] is correct
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not a JSON object"),
        ("[1, 2]", "a JSON list"),
        ("null", "a JSON NoneType"),
        ('{"gold": "3"}', "no 'prediction'"),
        ('{"prediction": "3"}', "no 'gold'"),
        ('{"gold": null, "prediction": "3"}', "the gold is None"),
        ('{"gold": {"a": 1}, "prediction": "3"}', "the gold is {"),
        ('{"gold": "3", "prediction": ["3"]}', "the prediction is ['3']"),
        (b'{"gold": "3", "prediction": "\xff"}', "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
    ],
)
def test_a_line_that_is_no_question_costs_only_itself(line: str | bytes, said: str) -> None:
    code, replies = grade_jsonl([question("3", "3"), line, "", question("4", "4")])
    assert code == 1
    assert [reply["status"] for reply in replies] == ["correct", "error", "correct"]
    assert "line 2: " in replies[1]["error"]
    assert said in replies[1]["error"]
    assert replies[1]["correct"] is False


def test_a_line_beyond_the_limit_is_refused_and_not_kept() -> None:
    code, replies = grade_jsonl([question("3", "x" * 9_000_000), question("4", "4")])
    assert code == 1
    assert [reply["status"] for reply in replies] == ["error", "correct"]
    assert "longer than" in replies[0]["error"]


HOSTILE = [
    "9" * 100_000,
    r"\boxed{9^{9^{9^{9^9}}}}",
    r"\boxed{" + "{" * 50_000 + "}" * 50_000 + "}",
    r"\boxed{" + "(" * 50_000,
    r"\boxed{\def\a{\a\a}\a}",
    "\\boxed{3\0}",
    "\\boxed{\ud800}",
    r"\boxed{__import__('os').system('touch hacked')}",
    r"\boxed{(10^{10})!}",
    "\\boxed{" + "\\frac{1}{" * 20_000,
    "<think>" * 20_000,
    r"\boxed{\sum_{k=1}^{10^{9}} \frac{1}{k}}",
]


def test_hostile_predictions_get_a_typed_status_and_harm_no_other(tmp_path: Path) -> None:
    lines = [line for text in HOSTILE for line in (question("3", text), question("3", "3"))]
    started = time.monotonic()
    code, replies = grade_jsonl(lines, "--time-limit", "1")
    assert time.monotonic() - started < 60
    assert code == 0
    assert [reply["status"] for reply in replies[1::2]] == ["correct"] * len(HOSTILE)
    assert {reply["status"] for reply in replies[::2]} <= {"wrong", "no_answer", "timeout", "error"}
    assert not Path("hacked").exists()


def test_numbers_are_read_as_they_are_written() -> None:
    _, replies = grade_jsonl(
        [
            '{"gold": 0.10, "prediction": 0.1}',
            '{"gold": 27.0, "prediction": "27"}',
            '{"gold": 1e400, "prediction": "10^{400}"}',
            '{"gold": 1e400, "prediction": "10^{401}"}',
            f'{{"gold": 1{"0" * 6000}, "prediction": 7}}',
            '{"gold": NaN, "prediction": 3}',
        ]
    )
    assert [reply["correct"] for reply in replies] == [True, True, True, False, False, False]


def test_a_list_of_golds_is_wanted_whole_in_any_order_and_a_task_brings_its_rules() -> None:
    _, replies = grade_jsonl(
        [
            question(["1", "2"], "2, 1"),
            question(["1", "2"], "1"),
            question("033", "33", task="aime24"),
            question("x", "x", task="somebody-elses", kind="their own word"),
            question("3", "thinking of 3", finish_reason="length"),
        ]
    )
    assert [reply["status"] for reply in replies] == ["correct", "wrong", "correct", "correct", "truncated"]


def test_strict_boxed_and_explain() -> None:
    _, (reply,) = grade_jsonl([question("3", "The answer is 3.")], "--strict-boxed", "--explain")
    assert (reply["status"], reply["source"], reply["gold_form"]) == ("no_answer", "none", "3")
    _, (reply,) = grade_jsonl([question("1/2", r"\boxed{\frac{2}{4}}")], "--explain")
    assert (reply["answer_form"], reply["gold_form"], reply["rule"]) == ("2/4", "1/2", "rational")


def test_a_reader_that_leaves_early_is_no_crash() -> None:
    lines = "\n".join(question(i, i) for i in range(5000))
    shell = f"{sys.executable} -m tbrm_bench grade --jsonl | head -1"
    done = subprocess.run(["sh", "-c", shell], input=lines, capture_output=True, text=True, check=False, timeout=60)
    assert json.loads(done.stdout)["correct"] is True
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [[], ["run", "--jsonl"]])
def test_a_run_or_lines_and_not_both_or_neither(words: list[str]) -> None:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert "one of the two" in done.stderr
