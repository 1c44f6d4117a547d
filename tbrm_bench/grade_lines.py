"""`tbench grade --jsonl`: one JSON object a line in, one verdict a line out, in order, as a stream.

    {"gold": "1/2", "prediction": "so it is \\\\boxed{0.5}"}
    {"correct": true, "status": "correct", "extracted": "0.5", "rule": "rational"}

A line is answered as soon as it can be, also while the writer keeps its end open and waits. A line that is no question
is answered with status `error` and says why; the others are graded all the same. docs/grade.md describes every key.
"""

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple, get_args

from tbrm_bench.errors import UserError
from tbrm_bench.grading import GraderPool, explain, normalize_gold
from tbrm_bench.grading.many import MAX_AHEAD, InOrder
from tbrm_bench.records import AnswerKind, Gold, Grade, Status
from tbrm_bench.tasks import TaskSpec, load_task, task_names

MAX_LINE_BYTES = 4 << 20
MAX_LINES_AHEAD = 64  # read and not looked at yet
OVERLONG = b"(a line that is too long is not kept)"
KINDS: tuple[str, ...] = get_args(AnswerKind)


class _Number(str):
    """A JSON number as it was written: 0.10 keeps its digits, and 1e400 does not become infinite."""


class Question(NamedTuple):
    """One line, read: what is graded, and the id that goes back with the verdict (None if the line has none)."""

    prediction: str
    gold: Gold
    truncated: bool
    extra: Mapping[str, Any]


class Reply(NamedTuple):
    """One line to be written, and whether its question could be read."""

    text: str
    is_answer: bool


def grade_lines(
    stream: BinaryIO, *, num_workers: int = 1, time_limit_s: float = 5.0, strict_boxed: bool = False, why: bool = False
) -> Iterator[Reply]:
    """Yield the verdict on each line of `stream`; `why` adds how both sides were read."""
    lines: queue.Queue[bytes | None] = queue.Queue(MAX_LINES_AHEAD)
    # A thread reads, so that verdicts are given while the next line is awaited; a daemon, so that it ends with us.
    threading.Thread(target=_read, args=(stream, lines), daemon=True).start()
    with GraderPool(num_workers, time_limit_s, strict_boxed=strict_boxed) as pool:
        conversation = _Conversation(pool, strict_boxed=strict_boxed, why=why)
        number = 0
        while True:
            try:
                line = lines.get(block=not conversation.num_open)
            except queue.Empty:
                yield from conversation.replies(wait=True)
                continue
            if line is None:
                break
            number += 1
            if line.strip():
                conversation.take(line, number)
            yield from conversation.replies(wait=conversation.num_open >= MAX_AHEAD)
        yield from conversation.replies(wait=True)


class _Conversation:
    """Questions and mistakes in the order of their lines, each with its reply."""

    def __init__(self, pool: GraderPool, *, strict_boxed: bool, why: bool) -> None:
        """Hold the pool for as long as lines come."""
        self.in_order = InOrder(pool)
        self.strict_boxed = strict_boxed
        self.why = why
        self._turns: list[Question | str] = []  # a question, or the message of a line that is none

    @property
    def num_open(self) -> int:
        """Lines taken and not answered yet."""
        return len(self._turns)

    def take(self, line: bytes, number: int) -> None:
        """Read one line and have it graded."""
        try:
            question = read_question(line)
        except UserError as error:
            self._turns.append(f"line {number}: {error}")
        else:
            self._turns.append(question)
            self.in_order.submit(question.prediction, question.gold, truncated=question.truncated)

    def replies(self, *, wait: bool) -> Iterator[Reply]:
        """Yield the replies whose turn it is; with `wait`, all of them."""
        grades = self.in_order.ready(wait=wait)
        given = 0
        for turn in self._turns:
            if isinstance(turn, str):
                yield Reply(json.dumps({"correct": False, "status": Status.ERROR, "error": turn}), is_answer=False)
            else:
                grade = next(grades, None)
                if grade is None:
                    break
                yield Reply(json.dumps(self._answer(turn, grade)), is_answer=True)
            given += 1
        del self._turns[:given]

    def _answer(self, question: Question, grade: Grade) -> dict[str, Any]:
        answer = {
            **question.extra,
            "correct": grade.status is Status.CORRECT,
            "status": grade.status,
            "extracted": grade.extracted,
            "rule": grade.rule,
        }
        if self.why:
            found = explain(
                question.prediction,
                question.gold,
                finish_reason="length" if question.truncated else "stop",
                strict_boxed=self.strict_boxed,
            )
            answer |= {"source": found.source, "answer_form": found.answer_form, "gold_form": found.gold_form}
        return answer


def _read(stream: BinaryIO, lines: "queue.Queue[bytes | None]") -> None:
    while line := stream.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            line = OVERLONG
        lines.put(line)
    lines.put(None)


def read_question(line: bytes) -> Question:
    """Read one line; raises UserError that says what is wrong with it."""
    if line is OVERLONG:
        raise UserError(f"longer than {MAX_LINE_BYTES:,} bytes")
    try:
        values = json.loads(line, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not a JSON object ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"a JSON {type(values).__name__} where an object with gold and prediction is expected")
    for key in ("gold", "prediction"):
        if key not in values:
            raise UserError(f"no {key!r}; there is: {', '.join(values) or 'nothing'}")
    prediction = values["prediction"]
    if not isinstance(prediction, str):
        raise UserError(f"the prediction is {prediction!r}, not a string or a number"[:200])
    extra = {"id": _echo(values["id"])} if "id" in values else {}
    return Question(prediction, _gold(values), values.get("finish_reason") == "length", extra)


def _echo(value: Any) -> Any:
    """Return an id as it came: an integer as an integer; another number as its text."""
    return int(value) if isinstance(value, _Number) and value.lstrip("-").isdigit() and len(value) < 20 else value


def _gold(values: Mapping[str, Any]) -> Gold:
    raw = values["gold"]
    answers = raw if isinstance(raw, list) and raw else [raw]
    if not all(isinstance(answer, str) for answer in answers):
        raise UserError(f"the gold is {raw!r}, not a string, a number or a list of them"[:200])
    kind, name = values.get("kind"), values.get("task")
    spec = _task(name) if isinstance(name, str) else None
    if spec is not None:
        return _gold_of_task(spec, raw)
    # Kinds are others' words; those that are not ours say nothing that the gold itself does not show.
    return Gold(tuple(answers), kind=kind if kind in KINDS else "auto")


@lru_cache(maxsize=64)
def _task(name: str) -> TaskSpec | None:
    """Return the task of this name; other projects' lines may name tasks that are none of ours."""
    return load_task(name) if name in task_names() else None


def _gold_of_task(spec: TaskSpec, raw: Any) -> Gold:
    return Gold(
        answers=normalize_gold(raw, spec.gold_rule),
        kind=spec.answer_kind,
        abs_tolerance=spec.abs_tolerance,
        rel_tolerance=spec.rel_tolerance,
    )
