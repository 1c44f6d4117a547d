"""A run, for real, on the bundled model: resumption, growth of k, re-grading, and kill -9 of the whole command."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from tbrm_bench.engines.base import Engine
from tbrm_bench.errors import UserError
from tbrm_bench.records import Sample, SampleRequest, Status
from tbrm_bench.run.pipeline import Progress, regrade, run
from tbrm_bench.run.plan import EvalOptions, Plan, Settings
from tbrm_bench.run.prepare import prepare
from tbrm_bench.run.result_json import result_from_json
from tbrm_bench.store import RunStore


class Loaded:
    """A loaded engine, counted; it can be made to fail after some samples (an injected fault)."""

    def __init__(self, engine: Engine, fail_after: int | None = None, fault: BaseException | None = None) -> None:
        self.engine = engine
        self.fail_after = fail_after
        self.fault = fault or KeyboardInterrupt()
        self.num_generated = 0

    def identity(self) -> Any:
        return self.engine.identity()

    def generate(self, requests: Iterable[SampleRequest]) -> Generator[list[Sample]]:
        for samples in self.engine.generate(requests):
            left = len(samples) if self.fail_after is None else self.fail_after - self.num_generated
            self.num_generated += len(samples[:left])
            if samples[:left]:
                yield samples[:left]
            if left < len(samples):
                raise self.fault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def options(run_dir: Path, **changes: Any) -> EvalOptions:
    return replace(
        EvalOptions(
            model="builtin:tiny",
            tasks=("arithmetic",),
            protocol="quickstart",
            samples=4,
            max_tokens=40,
            limit=12,
            out=run_dir,
        ),
        **changes,
    )


def ignore(progress: Progress) -> None:
    """Observe nothing."""


def rows(run_dir: Path) -> tuple[list[Any], list[Any]]:
    with sqlite3.connect(run_dir / "samples.sqlite") as connection:
        samples = connection.execute("SELECT * FROM samples ORDER BY task, problem_id, sample_index").fetchall()
        grades = connection.execute(
            "SELECT task, problem_id, sample_index, grader, status, extracted, rule FROM grades "
            "ORDER BY task, problem_id, sample_index, grader"
        ).fetchall()
    return samples, grades


def complete(plan: Plan, engine: Engine) -> Loaded:
    loaded = Loaded(engine)
    run(replace(plan, engine=loaded), ignore)
    return loaded


def test_a_run_holds_every_sample_graded_and_scored(tmp_path: Path, vllm_engine: Engine) -> None:
    plan = prepare(options(tmp_path / "run"))
    result = run(replace(plan, engine=Loaded(vllm_engine)), ignore)
    samples, grades = rows(tmp_path / "run")
    assert len(samples) == len(grades) == plan.num_samples == 48
    correct = sum(row[4] == Status.CORRECT for row in grades)
    assert result.tasks[0].avg == pytest.approx(correct / 48)
    assert result_from_json((tmp_path / "run" / "results.json").read_text()).tasks == result.tasks


def test_growing_k_generates_only_what_is_missing(tmp_path: Path, vllm_engine: Engine) -> None:
    complete(prepare(options(tmp_path / "straight", samples=6)), vllm_engine)
    complete(prepare(options(tmp_path / "grown", samples=2)), vllm_engine)
    grown = complete(prepare(options(tmp_path / "grown", samples=6)), vllm_engine)
    assert grown.num_generated == 12 * (6 - 2)
    assert rows(tmp_path / "grown") == rows(tmp_path / "straight")


def test_a_finished_run_does_not_load_the_model_again(tmp_path: Path, vllm_engine: Engine) -> None:
    plan = prepare(options(tmp_path / "run"))
    first = run(replace(plan, engine=Loaded(vllm_engine)), ignore)

    class Unloadable(Loaded):
        def __enter__(self) -> Self:
            raise AssertionError("nothing is missing, so nothing must be loaded")

    again = run(replace(prepare(options(tmp_path / "run")), engine=Unloadable(vllm_engine)), ignore)
    assert again.tasks == first.tasks


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), MemoryError("no memory")])
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, vllm_engine: Engine, fault: BaseException) -> None:
    complete(prepare(options(tmp_path / "straight")), vllm_engine)
    plan = prepare(options(tmp_path / "broken"))
    with pytest.raises(type(fault)):
        run(replace(plan, engine=Loaded(vllm_engine, fail_after=17, fault=fault)), ignore)
    assert len(rows(tmp_path / "broken")[0]) == 17
    resumed = complete(prepare(options(tmp_path / "broken")), vllm_engine)
    assert resumed.num_generated == 48 - 17
    assert rows(tmp_path / "broken") == rows(tmp_path / "straight")


def test_another_engine_is_another_lock(tmp_path: Path, vllm_engine: Engine) -> None:
    complete(prepare(options(tmp_path / "run")), vllm_engine)
    with pytest.raises(UserError, match=r"engine\.name"):
        complete(prepare(options(tmp_path / "run", engine="hf")), vllm_engine)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_tokens": 41}, "max_tokens"),
        ({"limit": 11}, "num_problems|rows"),
        ({"settings": Settings(seed=7)}, "seed"),
        ({"protocol": "greedy"}, "temperature|prompts"),
    ],
)
def test_what_decides_a_score_is_in_the_lock(
    tmp_path: Path, vllm_engine: Engine, change: dict[str, Any], field: str
) -> None:
    complete(prepare(options(tmp_path / "run")), vllm_engine)
    with pytest.raises(UserError, match=field):
        complete(prepare(options(tmp_path / "run", **change)), vllm_engine)


def test_regrading_reports_exactly_the_verdicts_that_turn(tmp_path: Path, vllm_engine: Engine) -> None:
    complete(prepare(options(tmp_path / "run")), vllm_engine)
    before = rows(tmp_path / "run")
    assert regrade(tmp_path / "run")[1] == []
    with sqlite3.connect(tmp_path / "run" / "samples.sqlite") as connection:
        connection.execute("UPDATE grades SET status = 'timeout' WHERE sample_index = 1 AND status = 'correct'")
        num_turned = connection.execute("SELECT changes()").fetchone()[0]
    assert num_turned > 0
    _, changes = regrade(tmp_path / "run")
    assert [(change.before.status, change.after.status) for change in changes] == [("timeout", "correct")] * num_turned
    assert rows(tmp_path / "run") == before


def test_nothing_is_written_before_a_run_starts(tmp_path: Path) -> None:
    prepare(options(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def tbench(*words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tbrm_bench", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Whoever runs the tests in the background of a shell hands down that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def count_samples(run_dir: Path) -> int:
    file = run_dir / "samples.sqlite"
    if not file.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM samples").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are not there yet
        return 0


def kill_and_resume(tmp_path: Path, *, num_kills: int, num_problems: int) -> None:
    words = ["eval", "builtin:tiny", "--samples", "8", "--limit", str(num_problems), "--out"]
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    process = tbench(*words, str(straight))
    assert process.wait() == 0, process.stderr.read().decode() if process.stderr else ""
    total = count_samples(straight)
    draw = random.Random(num_kills)
    num_left_unfinished = 0
    for _ in range(num_kills):
        process = tbench(*words, str(broken))
        threshold = count_samples(broken) + draw.randrange(1, max(2, total // num_kills))
        while process.poll() is None and count_samples(broken) < threshold:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        num_left_unfinished += count_samples(broken) < total
    assert num_left_unfinished > 0
    assert tbench(*words, str(broken)).wait() == 0
    assert rows(broken) == rows(straight)
    scores = [json.loads((folder / "results.json").read_text())["tasks"] for folder in (straight, broken)]
    assert scores[0] == scores[1]


def test_ctrl_c_leaves_a_run_that_goes_on_and_says_so(tmp_path: Path) -> None:
    words = ["eval", "builtin:tiny", "--limit", "200", "--samples", "16", "--out", str(tmp_path / "run")]
    process = tbench(*words)
    while process.poll() is None and count_samples(tmp_path / "run") < 40:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "run the same command to resume" in stderr.decode()
    assert "Traceback" not in stderr.decode()
    assert 40 <= count_samples(tmp_path / "run") < 200 * 16


def test_kill_9_of_the_whole_command_loses_and_changes_nothing(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, num_kills=2, num_problems=60)


@pytest.mark.slow
def test_kill_9_many_times(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, num_kills=20, num_problems=200)


def test_a_second_process_on_the_same_run_is_refused(tmp_path: Path, vllm_engine: Engine) -> None:
    plan = prepare(options(tmp_path / "run"))
    with RunStore.open_writer(plan.run_dir, lock=plan.lock, about=plan.about):
        process = tbench(
            "eval", "builtin:tiny", "--samples", "4", "--max-tokens", "40", "--limit", "12", "--out", str(plan.run_dir)
        )
        _, stderr = process.communicate()
    assert process.returncode != 0
    assert str(os.getpid()) in stderr.decode()
    assert len(stderr.decode().strip().splitlines()) == 1


def test_a_gold_that_no_answer_can_earn_is_warned_about_by_its_id() -> None:
    plan = prepare(EvalOptions("builtin:tiny", ("arithmetic",), "quickstart", engine="hf", limit=3))
    assert plan.warnings == []
    (task,) = plan.tasks
    first, second, third = task.problems
    broken = replace(second, gold=replace(second.gold, answers=("7 + 7 = 14\n#### 14",), kind="auto"))
    (warning,) = replace(plan, tasks=[replace(task, problems=[first, broken, third])]).warnings
    assert f"the gold of 1 problems ({second.key.problem_id})" in warning
    assert "gsm8k" in warning
