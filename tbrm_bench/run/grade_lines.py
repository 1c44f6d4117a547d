"""`tbench grade --jsonl`: one JSON object per line in, one verdict per line out, in order, as a stream.

    {"gold": "1/2", "prediction": "so it is \\\\boxed{0.5}"}
    {"correct": true, "status": "correct", "extracted": "0.5", "rule": "rational"}

A line is answered as soon as it can be, also while the writer keeps its end open and waits. A line that is not a
question is answered with status `error` and says why; the others are graded all the same. docs/grade.md describes
every key.
"""

import io
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, NamedTuple, get_args

from tbrm_bench.config import from_table
from tbrm_bench.errors import UserError
from tbrm_bench.grading import GraderPool
from tbrm_bench.grading.explain import explain_grade
from tbrm_bench.grading.find.extract import extract
from tbrm_bench.grading.many import MAX_AHEAD, grade_in, is_done
from tbrm_bench.grading.workers.promise import Promise
from tbrm_bench.missing import present, spells_missing
from tbrm_bench.records import DEFAULT_POLICY, AnswerKind, FinishReason, Gold, Grade, GradingPolicy, Status
from tbrm_bench.run.finish_reasons import finish_reason_of
from tbrm_bench.tasks.golds import distinct, gold_of
from tbrm_bench.tasks.spec import TaskSpec, load_task, task_names

MAX_LINE_BYTES = 4 << 20
CHUNK_BYTES = 1 << 16
MAX_CHUNKS_AHEAD = 4  # read and not looked at yet
OVERLONG = b"(a line that is too long is not kept)"
KINDS: tuple[str, ...] = get_args(AnswerKind)

Lines = list[bytes]
# What the conversation waits for: lines, the end of the input (None), or a verdict that has come.
Event = Lines | OSError | Promise | None


class _Number(str):
    """A JSON number as it was written: 0.10 keeps its digits, and 1e400 does not become infinite."""


class AnswerLine(NamedTuple):
    """One line, read."""

    prediction: str
    gold: Gold
    finish_reason: FinishReason
    policy: GradingPolicy


class Reply(NamedTuple):
    """One line to be written, and whether its question could be read."""

    text: str
    is_answer: bool


class _Turn(NamedTuple):
    """A line that waits for its reply: `fields` go back with it, `question` is kept where the reply explains."""

    fields: Mapping[str, Any]
    verdict: Grade | Promise
    question: AnswerLine | None = None


def grade_lines(
    stream: io.BufferedIOBase,
    *,
    num_workers: int = 1,
    time_limit_s: float = 5.0,
    strict_boxed: bool = False,
    explain: bool = False,
) -> Iterator[list[Reply]]:
    """Yield the verdicts on the lines of `stream`, each time as many as there are; `explain` adds what led to them.

    Raises UserError if the stream cannot be read.
    """
    events: SimpleQueue[Event] = SimpleQueue()
    room = threading.Semaphore(MAX_CHUNKS_AHEAD)
    # A thread reads, so that verdicts are given while the next line is awaited; a daemon, so that it ends with us.
    threading.Thread(target=_read, args=(stream, events, room), daemon=True).start()
    with GraderPool(num_workers, time_limit_s, strict_boxed=strict_boxed) as pool:
        conversation = _Conversation(pool, events, explain=explain)
        while (event := events.get()) is not None:
            if isinstance(event, OSError):
                raise UserError(f"the standard input cannot be read: {event.strerror}")
            if isinstance(event, list):
                for line in event:
                    conversation.take(line)
                    if conversation.num_open >= MAX_AHEAD:
                        yield conversation.replies(wait_for=1)
                room.release()
            yield conversation.replies()
        while conversation.num_open:
            yield conversation.replies(wait_for=1)


@dataclass(slots=True)
class _Conversation:
    """Questions and mistakes in the order of their lines, each with its verdict."""

    pool: GraderPool
    events: "SimpleQueue[Event]"
    explain: bool
    num_lines: int = 0
    turns: "deque[_Turn]" = field(default_factory=deque)

    @property
    def num_open(self) -> int:
        """Lines taken and not answered yet."""
        return len(self.turns)

    def take(self, line: bytes) -> None:
        """Read one line and have it graded."""
        self.num_lines += 1
        if not line.strip():
            return
        fields: dict[str, Any] = {}
        try:
            values = read_object(line)
            if "id" in values:
                fields["id"] = _echo(values["id"])
            question = read_question(values)
        except UserError as error:
            fields["error"] = f"line {self.num_lines}: {error}"
            self.turns.append(_Turn(fields, Grade(Status.ERROR, None, "unreadable_line")))
            return
        verdict = self.pool.verdict(*question[:3], policy=question.policy)
        if isinstance(verdict, Promise):
            verdict.when_kept(self.events.put)
        self.turns.append(_Turn(fields, verdict, question if self.explain else None))

    def replies(self, *, wait_for: int = 0) -> list[Reply]:
        """Return the replies whose turn it is, waiting for so many."""
        replies: list[Reply] = []
        while self.turns and (is_done(self.turns[0].verdict) or len(replies) < wait_for):
            replies.append(self._reply(self.turns.popleft()))
        return replies

    def _reply(self, turn: _Turn) -> Reply:
        grade = grade_in(turn.verdict)
        answer: dict[str, Any] = {
            "correct": grade.status is Status.CORRECT,
            "status": grade.status,
            "extracted": grade.extracted,
            "rule": grade.rule,
        }
        if turn.question is not None:
            answer |= self._reasons(turn.question, grade)
        error = turn.fields.get("error")
        known = {"id": turn.fields["id"]} if "id" in turn.fields else {}
        return Reply(json.dumps(known | answer | ({"error": error} if error else {})), is_answer=error is None)

    def _reasons(self, question: AnswerLine, grade: Grade) -> dict[str, Any]:
        text, gold, finish_reason, policy = question
        found = extract(text, finish_reason=finish_reason, strict_boxed=self.pool.strict_boxed)
        told = explain_grade(grade, found, gold, policy)
        return {
            "source": told.source,
            "answer_form": told.answer_form,
            "gold_form": told.gold_form,
            "steps": told.steps,
        }


def _read(stream: io.BufferedIOBase, events: "SimpleQueue[Event]", room: threading.Semaphore) -> None:
    try:
        for lines in _whole_lines(stream):
            room.acquire()
            events.put(lines)
    except OSError as error:
        events.put(error)
    events.put(None)


def _whole_lines(stream: io.BufferedIOBase) -> Iterator[Lines]:
    """Yield the lines that have arrived, each time as many as there are; an overlong one is not kept."""
    rest, is_overlong = b"", False
    while chunk := stream.read1(CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines and is_overlong:
            lines[0], is_overlong = OVERLONG, False
        if len(rest) > MAX_LINE_BYTES or is_overlong:
            rest, is_overlong = b"", True
        if lines:
            yield [line if len(line) <= MAX_LINE_BYTES else OVERLONG for line in lines]
    if rest or is_overlong:
        yield [OVERLONG if is_overlong else rest]


def read_object(line: bytes) -> dict[str, Any]:
    """Read one line as a JSON object; raises UserError that says what is wrong with it."""
    if line is OVERLONG:
        raise UserError(f"longer than {MAX_LINE_BYTES:,} bytes")
    try:
        values = json.loads(line, parse_int=_Number, parse_float=_Number, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not a JSON object ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"a JSON {type(values).__name__} where an object with gold and prediction is expected")
    return values


def read_question(values: Mapping[str, Any]) -> AnswerLine:
    """Read what is asked; raises UserError."""
    for key in ("gold", "prediction"):
        if key not in values:
            raise UserError(f"no {key!r}; available: {', '.join(values) or 'none'}"[:200])
        if present(values[key]) is None:
            raise UserError(f"no {key!r}: the {key} is {values[key]!r}, null or NaN")
    prediction = values["prediction"]
    if not isinstance(prediction, str):
        raise UserError(f"the prediction is {prediction!r}, not a string or a number"[:200])
    return AnswerLine(prediction, _gold(values), finish_reason_of(values), _policy(values))


def _policy(values: Mapping[str, Any]) -> GradingPolicy:
    table = values.get("policy")
    if table is None:
        return DEFAULT_POLICY
    if not isinstance(table, dict):
        raise UserError(f"the policy is {table!r}, not an object of switches"[:200])
    return from_table(table, GradingPolicy, place="policy")


def _constant(text: str) -> "_Number | None":
    """Read what JSON has no number for: NaN is a missing value, an infinity keeps its text."""
    return None if text == "NaN" else _Number(text)


def _echo(value: Any) -> Any:
    """Return an id as it came; a number that JSON cannot carry goes back as its text."""
    if isinstance(value, dict):
        return {name: _echo(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_echo(inner) for inner in value]
    if not isinstance(value, _Number):
        return value
    if value.lstrip("-").isdigit() and len(value) < 1000:
        return int(value)
    number = float(value)
    return number if number - number == 0 else str(value)


def _gold(values: Mapping[str, Any]) -> Gold:
    raw, others = present(values["gold"]), present(values.get("alternatives"))
    alternatives = others if isinstance(others, list) else [] if others is None else [others]
    for one in (raw, *map(present, alternatives)):
        _check_gold(one)
    kind, name = values.get("kind"), values.get("task")
    spec = _task(name) if isinstance(name, str) else None
    if spec is not None and spec.gold_rule:
        return gold_of(spec, raw, alternatives=alternatives)
    answers, *rest = (tuple(one) if isinstance(one, list) else (one,) for one in map(present, [raw, *alternatives]))
    # Kinds are others' words; those that are not ours say nothing that the gold itself does not show.
    known: Any = kind if isinstance(kind, str) and kind in KINDS else "auto"
    return Gold(answers, kind=known, alternatives=distinct(answers, rest))


def _check_gold(raw: Any) -> None:
    """Raise UserError for a gold, or an alternative, that no answer should be compared with."""
    answers: Sequence[Any] = raw if isinstance(raw, list) else [raw]
    if not all(isinstance(answer, str) for answer in answers):
        raise UserError(f"the gold is {raw!r}, not a string, a number or a list of them"[:200])
    if any(isinstance(answer, _Number) and answer.endswith("Infinity") for answer in answers):
        raise UserError(f"the gold is {raw!r}, which is not a number; write \\infty"[:200])
    if any(answer.strip().rfind("####") > 0 for answer in answers):
        raise UserError(f"the gold {raw!r:.60} is a solution; give what follows its '####'")
    if any(map(spells_missing, answers)):
        raise UserError(
            f"the gold is {raw!r}, as a missing value is written; if it is meant, put it into \\text{{}}"[:200]
        )


@lru_cache(maxsize=64)
def _task(name: str) -> TaskSpec | None:
    """Return the task of this name; other projects' lines may name tasks that are none of ours."""
    return load_task(name) if name in task_names() else None
