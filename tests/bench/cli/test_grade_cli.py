"""`tbench grade`: lines of JSON as a conversation, a second opinion on a stored run, the reasons of a verdict."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.grading import grade, grade_many

COMMAND = [sys.executable, "-m", "tbrm_bench", "grade"]


def grade_jsonl(lines: Sequence[str | bytes], *words: str) -> tuple[int, list[dict[str, Any]]]:
    data = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines) + b"\n"
    done = subprocess.run([*COMMAND, "--jsonl", *words], input=data, capture_output=True, check=False, timeout=600)
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
        ('{"gold": NaN, "prediction": "nan"}', "no 'gold'"),
        ('{"gold": NaN, "prediction": "3", "task": "math500"}', "no 'gold'"),
        ('{"gold": [NaN, null], "prediction": "3"}', "no 'gold'"),
        ('{"gold": "3", "prediction": NaN}', "no 'prediction'"),
        ('{"gold": "3", "prediction": null}', "no 'prediction'"),
        ('{"gold": "None", "prediction": "\\\\boxed{None}"}', "'None', as a missing value is written"),
        ('{"gold": "nan", "prediction": "nan"}', "'nan', as a missing value is written"),
        ('{"gold": Infinity, "prediction": "Infinity"}', "not a number"),
        ('{"gold": "7 + 7 = 14\\n#### 14", "prediction": "14"}', "a solution"),
        ('{"gold": "3", "prediction": "3", "finish_reason": "banana"}', "the finish_reason is 'banana'"),
        ('{"gold": "3", "prediction": "3", "finish_reason": 2}', "the finish_reason is '2'"),
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
    code, replies = grade_jsonl(lines, "--time-limit", "1")
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


def test_null_and_nan_in_a_line_are_what_is_not_there() -> None:
    lines = [
        question("3", "so it is 3", **more)
        for gap in (None, float("nan"))
        for more in ({"finish_reason": gap}, {"kind": gap}, {"task": gap}, {"unit": gap}, {})
    ]
    lines += [question(["1", "2", gap], "2, 1") for gap in (None, float("nan"))]
    code, replies = grade_jsonl(lines)
    assert (code, {reply["status"] for reply in replies}) == (0, {"correct"})
    _, replies = grade_jsonl(['{"gold": 3, "prediction": 3, "id": NaN}', '{"gold": 3, "prediction": 3, "id": null}'])
    assert [reply["id"] for reply in replies] == [None, None]


def test_a_completion_that_was_cut_off_is_truncated_in_everybodys_words() -> None:
    cut = ["length", "max_tokens", "MAX_TOKENS", "FinishReason.MAX_TOKENS", "max-tokens", "maxTokens"]
    cut += ["max_output_tokens", "model_length", "model_context_window_exceeded", "token_limit", "incomplete"]
    cut += ["content_filter", "SAFETY", "RECITATION", "abort", "ERROR_LIMIT"]
    ended = ["stop", "STOP", "end_turn", "stop_sequence", "eos_token", "COMPLETE", "tool_calls"]
    told = [*cut, {"type": "length", "length": 512}, *ended, {"type": "stop", "matched": 151645}]
    code, replies = grade_jsonl([question("3", "it is 3", finish_reason=name) for name in told])
    assert code == 0
    assert [reply["status"] for reply in replies] == ["truncated"] * (len(cut) + 1) + ["correct"] * (len(ended) + 1)


def test_other_services_keys_say_so_too_and_finish_reason_goes_before_them() -> None:
    keys = ["stop_reason", "finishReason", "stopReason", "done_reason"]
    told = [question("3", "it is 3", **{key: name}) for key in keys for name in ("max_tokens", "stop")]
    told += [question("3", "it is 3", finish_reason=name, stop_reason=151645) for name in ("length", "stop")]
    told += [question("3", "it is 3", stop_reason=151645), question("3", "it is 3", stop_reason=None)]
    code, replies = grade_jsonl(told)
    assert code == 0
    assert [reply["status"] for reply in replies] == ["truncated", "correct"] * (len(keys) + 1) + ["correct"] * 2


def test_strict_boxed_and_explain() -> None:
    _, (reply,) = grade_jsonl([question("3", "The answer is 3.")], "--strict-boxed", "--explain")
    assert (reply["status"], reply["source"], reply["gold_form"]) == ("no_answer", "none", "3")
    _, (reply,) = grade_jsonl([question("1/2", r"\boxed{\frac{2}{4}}")], "--explain")
    assert (reply["answer_form"], reply["gold_form"], reply["rule"]) == ("2/4", "1/2", "rational")


def test_a_reader_that_leaves_early_is_no_crash() -> None:
    lines = "\n".join(question(i, i) for i in range(5000))
    shell = f"{sys.executable} -m tbrm_bench grade --jsonl | head -1"
    done = subprocess.run(["sh", "-c", shell], input=lines, capture_output=True, text=True, check=False, timeout=600)
    assert json.loads(done.stdout)["correct"] is True
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [[], ["run", "--jsonl"]])
def test_a_run_or_lines_and_not_both_or_neither(words: list[str]) -> None:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert "one of the two" in done.stderr


@pytest.mark.parametrize("id_", [7, -3, "a", 1.5, 1e300, None, True, [1, {"b": 2.25}], {"": "\ud800"}, 10**30])
def test_an_id_goes_back_as_it_came_also_with_a_mistake(id_: Any) -> None:
    _, replies = grade_jsonl([question("3", "3", id=id_), json.dumps({"id": id_, "prediction": "3"})])
    assert [reply["id"] for reply in replies] == [id_, id_]
    assert [reply["status"] for reply in replies] == ["correct", "error"]


def test_every_reply_has_the_same_keys_and_a_mistake_says_where() -> None:
    _, (good, bad) = grade_jsonl([question("3", "3"), '{"id": NaN}'])
    keys = {"correct", "status", "extracted", "rule"}
    assert set(good) == keys
    assert set(bad) == keys | {"id", "error"}
    assert bad["error"].startswith("line 2: no 'gold'")


def test_a_tasks_own_rule_reads_its_golds_and_tells_which_it_cannot() -> None:
    code, replies = grade_jsonl(
        [
            question(r"Long solution. \boxed{2.5e7}", r"2.5 \times 10^7", task="minerva_math"),
            question("$112,$6$", "6, 112", task="olympiadbench"),
            question("many", "7", task="aime24"),
        ]
    )
    assert code == 1
    assert [reply["status"] for reply in replies] == ["correct", "correct", "error"]
    assert "'many'" in replies[2]["error"]


def test_a_kind_says_how_a_gold_is_meant() -> None:
    _, replies = grade_jsonl([question("AB", "ab"), question("AB", "ab", kind="text")])
    assert [reply["correct"] for reply in replies] == [False, True]


def test_a_verdict_beyond_its_limit_keeps_its_place() -> None:
    endless = [question("5", rf"\boxed{{\sum_{{k=1}}^{{10^{{9}}}} \frac{{{n}}}{{k}}}}") for n in (1, 3)]
    lines = [question("1", "1"), *endless, question("2", "2"), question(r"2\sqrt{3}", r"\sqrt{12}")]
    code, replies = grade_jsonl(lines, "--workers", "2", "--time-limit", "0.5")
    assert code == 0, "a timeout is an answer"
    assert [reply["status"] for reply in replies] == ["correct", "wrong", "wrong", "correct", "correct"]


def test_a_closed_standard_input_is_told(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m tbrm_bench grade --jsonl <&-"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the standard input is closed")


@pytest.mark.slow
def test_memory_stays_flat_over_a_hundred_thousand_lines() -> None:
    """Every answer another one, some of them long, some for a worker; the writer never waits for the reader to ask."""

    def line(number: int) -> str:
        if number % 997 == 0:
            return question("7", "9" * 100_000, id=number)
        if number % 211 == 0:
            return question(rf"2\sqrt{{{number}}}", rf"\boxed{{\sqrt{{{4 * number}}}}}", id=number)
        return question(number, f"{'We add them up. ' * 60} So it is \\boxed{{{number}}}", id=number)

    with subprocess.Popen([*COMMAND, "--jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        writer = threading.Thread(target=lambda: write_all(process, (line(number) for number in range(100_000))))
        writer.start()
        resident = []
        assert process.stdout is not None
        for number, reply in enumerate(process.stdout):
            assert json.loads(reply)["id"] == number
            if number % 20_000 == 19_999:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                resident.append(pages * os.sysconf("SC_PAGE_SIZE"))
        writer.join()
    assert len(resident) == 5
    # The cache of verdicts fills up to its bound until the middle.
    assert resident[-1] - resident[2] < 8e6
    assert resident[-1] < 150e6


def write_all(process: "subprocess.Popen[bytes]", lines: Iterable[str]) -> None:
    assert process.stdin is not None
    for line in lines:
        process.stdin.write(line.encode() + b"\n")
    process.stdin.close()


def test_the_page_shows_what_is_printed() -> None:
    """Every `echo ... | tbench grade --jsonl` of docs/grade.md, and the first keys of its reply."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "grade.md").read_text()
    examples = re.findall(r"    \$ echo '(.+)' \| tbench grade (.+)\n((?:    .+\n)+)", page)
    assert len(examples) == 2
    for line, words, shown in examples:
        _, (reply,) = grade_jsonl([line], *words.split()[1:])
        wanted = json.loads(re.sub(r", \.\.\.\]", "]", " ".join(shown.split("\n    "))))
        assert {**wanted, "steps": None} == {**reply, "steps": None}
        assert reply.get("steps", [])[:1] == wanted.get("steps", [])
