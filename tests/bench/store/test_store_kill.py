"""The run store and SIGKILL: what was committed is there, what was not is missing, and the next writer gets in.

Run as a script (`test_store_kill.py STAGE FOLDER`) this file is the process that the tests kill.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.files import write_text
from tbrm_bench.records import Gold, Problem, ProblemKey, Sample, SampleKey
from tbrm_bench.store import RunStore

PROBLEM = Problem(ProblemKey("toy", "p"), "?", Gold(("1",)), "p")
MANY = 100_000
BATCH = 3
CONTENTS = ("old" * 20_000, "the new one" * 20_000)


def open_run(run_dir: Path) -> RunStore:
    return RunStore.open_writer(run_dir, lock={"seed": 0}, about={"strict_boxed": False})


def sample_of(key: SampleKey) -> Sample:
    """Return the only sample that this key can have."""
    draw = random.Random(key.sample_index)
    text = draw.randbytes(draw.randrange(1, 2000)).hex()
    return Sample(key, key.sample_index, text, (key.sample_index,) * 9, "stop", 3)


def samples_between(start: int, stop: int) -> list[Sample]:
    return [sample_of(SampleKey("toy", "p", index)) for index in range(start, stop)]


def write_for_ever(run_dir: Path) -> None:
    """Store batch after batch, going on where an earlier process stopped; say each total once it is committed."""
    with open_run(run_dir) as store:
        store.put_problems([PROBLEM], {"toy": MANY})
        print("open", flush=True)
        missing = store.missing("toy")
        while keys := list(islice(missing, BATCH)):
            store.add_samples(map(sample_of, keys))
            print(keys[-1].sample_index + 1, flush=True)


def start_for_ever(folder: Path) -> None:
    """Start one run after another, each in a new folder."""
    print("open", flush=True)
    for number in range(MANY):
        with open_run(folder / f"{number:06}") as store:
            store.put_problems([PROBLEM], {"toy": 1})
        print(number, flush=True)


def fork_and_wait(run_dir: Path) -> None:
    """Open the run, and fork a process that outlives this one, as engines and pools of workers do."""
    store = open_run(run_dir)
    if not os.fork():
        print(os.getpid(), flush=True)
        os.close(sys.stdout.fileno())
        time.sleep(60)
        os._exit(0)
    with store:
        time.sleep(60)


def open_when_told(run_dir: Path) -> None:
    """Wait for a line, open the run, say how that went, and keep it open."""
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        with open_run(run_dir):
            print("open", flush=True)
            sys.stdin.readline()
    except RunFailed as error:
        print(error, flush=True)


def rewrite_for_ever(file: Path) -> None:
    """Write one of two contents after the other."""
    print("open", flush=True)
    for number in range(MANY):
        write_text(file, CONTENTS[number % 2])


def spawn(stage: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, __file__, stage, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def say(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def kill_after(stage: str, folder: Path, seconds: float) -> int:
    """Start a process, kill it `seconds` after its first line; return the last number that it said, 0 for none."""
    with spawn(stage, folder) as process:
        assert heard(process) == "open"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        said = process.stdout.read().split("\n")[:-1]  # what follows the last line end was cut off
    assert process.returncode == -signal.SIGKILL
    return int(said[-1]) if said else 0


def check_integrity(run_dir: Path) -> None:
    with sqlite3.connect(run_dir / "samples.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def kill_many_times(run_dir: Path, num_kills: int) -> None:
    draw = random.Random(num_kills)
    totals = [0]
    for _ in range(num_kills):
        said = kill_after("write", run_dir, draw.uniform(0, 0.12))
        with RunStore.open_reader(run_dir) as store:  # before any writer has recovered it
            total = store.count_samples()
            new = list(store.samples_where("sample_index >= ?", (totals[-1],)))
        assert new == samples_between(totals[-1], total), "no sample is lost, changed or stored twice"
        assert total >= said, "what was said to be committed is there"
        assert total % BATCH == 0, "a transaction is there whole or not at all"
        check_integrity(run_dir)
        totals.append(total)
    assert totals[-1] > totals[1], "the kills hit a run that was writing"
    with open_run(run_dir) as store:
        assert next(store.missing("toy")).sample_index == totals[-1]
        assert list(store.samples()) == samples_between(0, totals[-1])


def test_kill_9_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    kill_many_times(tmp_path / "run", 10)


@pytest.mark.slow
def test_kill_9_many_times_loses_nothing(tmp_path: Path) -> None:
    kill_many_times(tmp_path / "run", 50)


def read(run_dir: Path) -> Any:
    """Return the problems, or the part of the error that says why there are none."""
    try:
        with RunStore.open_reader(run_dir) as store:
            return list(store.problems())
    except UserError as error:
        return next(
            (words for words in ("it has no run.json", "nothing was generated yet") if words in str(error)), error
        )


def kill_while_starting(folder: Path, num_kills: int) -> None:
    draw = random.Random(num_kills)
    for number in range(num_kills):
        part = folder / f"{number}"
        part.mkdir()
        kill_after("start", part, draw.uniform(0, 0.1))
        *_, last = sorted(part.iterdir())
        assert read(last) in ("it has no run.json", "nothing was generated yet", [], [PROBLEM])
        with open_run(last) as store:
            store.put_problems([PROBLEM], {"toy": 1})
            assert list(store.missing("toy")) == [SampleKey("toy", "p", 0)]
        check_integrity(last)


def test_a_run_that_is_killed_while_it_starts_can_be_started_again(tmp_path: Path) -> None:
    kill_while_starting(tmp_path, 10)


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_starts_can_be_started_again_many_times(tmp_path: Path) -> None:
    kill_while_starting(tmp_path, 80)


def test_what_every_step_of_a_start_leaves_behind_can_be_started_again(tmp_path: Path) -> None:
    """The same, step by step: the states between two system calls are too short for a kill to find them all."""
    with open_run(tmp_path / "whole"):
        pass
    run_json = (tmp_path / "whole" / "run.json").read_text()
    states: list[dict[str, str]] = [
        {},
        {"writer.lock": ""},
        {"writer.lock": "process 4194304 on elsewhere"},
        {"writer.lock": "", ".run.json.4194304": run_json[:30]},
        {"writer.lock": "", "run.json": run_json},
        {"writer.lock": "", "run.json": run_json, "samples.sqlite": ""},
        {"writer.lock": "", "run.json": run_json, "samples.sqlite": "", "samples.sqlite-journal": ""},
    ]
    for number, state in enumerate(states):
        run_dir = tmp_path / f"{number}"
        run_dir.mkdir()
        for name, content in state.items():
            (run_dir / name).write_text(content)
        said = "nothing was generated yet" if "run.json" in state else r"it has no run\.json"
        with pytest.raises(UserError, match=said):
            RunStore.open_reader(run_dir)
        with open_run(run_dir) as store:
            assert store.tasks() == []
        assert json.loads((run_dir / "run.json").read_text()) == json.loads(run_json)


def test_a_process_that_the_killed_writer_has_forked_does_not_keep_the_run(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with spawn("fork", run_dir) as process:
        child = int(heard(process))
        try:
            with pytest.raises(RunFailed, match=f"process {process.pid} "):
                open_run(run_dir)
            process.kill()
            process.wait()
            os.kill(child, 0)  # it lives
            with open_run(run_dir) as store:
                assert store.tasks() == []
        finally:
            os.kill(child, signal.SIGKILL)


def test_of_processes_that_start_a_run_at_once_one_gets_it(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    processes = [spawn("open", run_dir) for _ in range(4)]
    try:
        assert [heard(process) for process in processes] == ["ready"] * 4
        for process in processes:
            say(process)
        answers = [heard(process) for process in processes]
        assert sorted(answer == "open" for answer in answers) == [False, False, False, True]
        for answer in answers:
            assert answer == "open" or f"{run_dir} is being written by" in answer
        say(processes[answers.index("open")])
        assert [process.wait() for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    with open_run(run_dir) as store:
        assert store.tasks() == []


def test_a_file_is_the_old_one_or_the_new_one_at_every_moment(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(CONTENTS[0])
    with spawn("rewrite", file) as process:
        assert heard(process) == "open"
        read: list[str] = []
        while len(read) < 500 or len(set(read)) == 1:
            read.append(file.read_text())
        process.kill()
    assert set(read) == set(CONTENTS)
    assert file.read_text() in CONTENTS


if __name__ == "__main__":
    stages = {
        "write": write_for_ever,
        "start": start_for_ever,
        "fork": fork_and_wait,
        "open": open_when_told,
        "rewrite": rewrite_for_ever,
    }
    stages[sys.argv[1]](Path(sys.argv[2]))
