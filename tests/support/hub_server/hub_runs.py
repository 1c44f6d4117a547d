"""Run directories made by the store itself, with everything in them that a file format could trip over."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tbrm_bench.grading import GRADER
from tbrm_bench.records import Gold, Grade, Problem, ProblemKey, Sample, SampleKey, Status
from tbrm_bench.run.pipeline import regrade, write_results
from tbrm_bench.run.score import score_run
from tbrm_bench.seeds import sample_seed
from tbrm_bench.store import RunStore

# NUL, lone surrogates, CR, a BOM, a character beyond 16 bits, nothing at all, what looks like markup.
NASTY = ["", "a\0b", "x\ud800y", "line\r\nline\u2028", "\ufeffBOM", "\U0001d70b", "<b>&amp;</b>", "\\boxed{\\frac12}"]
ABOUT: dict[str, Any] = {
    "model": "owner/model",
    "commit": None,
    "protocol": "quickstart",
    "strict_boxed": False,
    "created": "2026-01-31T10:00:00+00:00",
    "command": ["tbench", "eval", "owner/model"],
    "versions": {"python": "3.11"},
    "hardware": {"gpus": []},
}


def make_lock(seed: int = 0, tasks: Sequence[str] = ("toy",)) -> dict[str, Any]:
    """Return a lock of the form that `tbench eval` writes."""
    sampling = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 40}
    return {
        "model": {"weights": "0" * 64},
        "tasks": {task: dict(sampling) for task in tasks},
        "engine": {"name": "hf", "version": "1", "device": "cpu", "dtype": "float32"},
        "seed": seed,
    }


def make_run(
    folder: Path,
    *,
    tasks: Sequence[str] = ("toy",),
    num_problems: int = 6,
    num_samples: int = 3,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    text_bytes: int = 0,
    skip: int = 0,
    results: bool = True,
) -> Path:
    """Make a run; one sample in three is right. `skip` samples of the last task are not there."""
    with RunStore.open_writer(folder, lock=make_lock(seed, tasks), about={**ABOUT, **(about or {})}) as store:
        for task in tasks:
            problems = [
                Problem(
                    ProblemKey(task, f"p/{number}"),
                    f"What is {NASTY[number % len(NASTY)]} {number}?",
                    Gold((str(number),), "integer"),
                    f"c{number // 2}",
                )
                for number in range(num_problems)
            ]
            store.put_problems(problems, {task: num_samples})
            keys = list(store.missing(task))
            for start in range(0, len(keys), 500):
                page = keys[start : start + 500]
                stop = len(keys) - skip if task == tasks[-1] else len(keys)
                store.add_samples(make_sample(seed, key, text_bytes) for i, key in enumerate(page) if start + i < stop)
    if results:
        give_grades(folder)
    return folder


def make_sample(seed: int, key: SampleKey, text_bytes: int = 0) -> Sample:
    """Return a sample; the first one of every problem whose number three divides is right."""
    problem = key.problem_id.removeprefix("p/")
    number = 5 * int(problem) + 2 * key.sample_index
    answer = problem if number % 3 == 0 else "-7"
    filler = "".join(f"step {number * 31 + i} " for i in range(text_bytes // 9))
    text = f"{filler}{NASTY[number % len(NASTY)]} so \\boxed{{{answer}}}"
    token_ids = tuple(range(number % 5)) + (2**32 - 1,) * (number % 2) + tuple(range(text_bytes // 4))
    return Sample(key, sample_seed(seed, key), text, token_ids, "stop", 9)


def give_grades(folder: Path) -> None:
    """Grade and score a run by comparing texts, which takes no grader process."""
    with RunStore.open_grader(folder) as store:
        golds = {problem.key: problem.gold.answers[0] for problem in store.problems()}
        store.add_grades([(sample.key, _judge(sample, golds)) for sample in store.samples()], GRADER)
    write_scores(folder)


def _judge(sample: Sample, golds: Mapping[ProblemKey, str]) -> Grade:
    answer = sample.text.rpartition("{")[2].rstrip("}")
    is_right = answer == golds[ProblemKey(*sample.key[:2])]
    return Grade(Status.CORRECT if is_right else Status.WRONG, answer, "integer")


def write_scores(folder: Path) -> None:
    """Write results.json from the stored verdicts."""
    with RunStore.open_reader(folder) as store:
        result = score_run(store, grader=GRADER, vote_classes=_same_text)
    write_results(folder, result)


def _same_text(answers: Sequence[Sequence[str]]) -> list[list[int]]:
    return [[row.index(answer) for answer in row] for row in answers]


def set_grade(folder: Path, key: SampleKey, grade: Grade) -> None:
    """Change one verdict by hand and score the run again."""
    with RunStore.open_grader(folder) as store:
        store.add_grades([(key, grade)], GRADER)
    write_scores(folder)


WRONG = Grade(Status.WRONG, "-7", "integer")


def add_old_grades(folder: Path) -> None:
    """Store verdicts of an earlier grader, then those of the present one."""
    with RunStore.open_grader(folder) as store:
        keys = [sample.key for sample in store.samples()]
        store.add_grades([(key, Grade(Status.WRONG, "\ud83d", "old rule")) for key in keys[::2]], "tbrm-0")
    regrade(folder)


def content(folder: Path) -> dict[str, list[Any]]:
    """Return every row of a run, texts as bytes, in an order that does not depend on how they were stored."""
    with sqlite3.connect(folder / "samples.sqlite") as connection:
        connection.text_factory = bytes
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall())
            for table in ("targets", "problems", "samples", "grades")
        }
