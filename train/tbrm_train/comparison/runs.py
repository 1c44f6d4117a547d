"""The trainings of a comparison, one after another, each an ordinary `tbench train` in a process of its own.

A failure is reported and the next training starts; the same command retries it and leaves finished ones alone.
Trainings do not run concurrently, since the ledger compares their seconds.
"""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tbrm_bench.disk import disk_errors
from tbrm_bench.interrupts import ended_by
from tbrm_train.comparison.plan import ComparisonPlan, Run
from tbrm_train.comparison.same_inputs import check_inputs
from tbrm_train.output.checkpoint import last_checkpoint, locked

PR_SET_PDEATHSIG = 1
Report = Callable[[str], None]
# Runs `tbench train WORDS`, writes its output to the log, reports each line; returns the exit code.
Launch = Callable[[Sequence[str], Path, Report], int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of a training after its turn; `reason` is why it failed."""

    run: Run
    status: Literal["finished", "kept", "failed"]  # kept: it had finished before
    reason: str = ""


def train_all(plan: ComparisonPlan, launch: Launch, report: Report) -> list[Outcome]:
    """Train what is not finished yet, in the plan's order.

    Raises UserError if another comparison runs there, or if an input has changed since the first training.
    """
    with locked(plan.output):
        return [_train(plan, run, number, launch, report) for number, run in enumerate(plan.runs, start=1)]


def _train(plan: ComparisonPlan, run: Run, number: int, launch: Launch, report: Report) -> Outcome:
    label = f"[{number}/{len(plan.runs)}] {run.name}"
    if run.is_finished():
        report(f"{label}: kept, {run.output} is finished")
        return Outcome(run, "kept")
    check_inputs(plan, run, report)
    report(f"{label}: {'resumes' if last_checkpoint(run.output) else 'starts'}")
    with disk_errors(plan.output):
        run.output.parent.mkdir(parents=True, exist_ok=True)
    words = [str(plan.arm_file(run.arm)), f"seed={run.seed}", f"output={run.output}"]
    code = launch(words, run.log, lambda line: report(f"  {run.name}: {line}"))
    if code == 0 and run.is_finished():
        return Outcome(run, "finished")
    reason = _reason(run.log, code)
    report(f"{label}: failed ({reason}); continuing with the rest, the log is {run.log}")
    return Outcome(run, "failed", reason)


def _reason(log: Path, code: int) -> str:
    """Return the last error that a training printed, or what ended it."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    errors = [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")]
    if name := ended_by(code):
        return f"ended by {name}"
    return errors[-1] if errors else f"exit code {code}"


def launch_process(words: Sequence[str], log: Path, report: Report, *, num_processes: int = 1) -> int:
    """Run a training in a new process, or in several under torchrun; they end with this one."""
    module = ["-m", "tbrm_bench"]
    if num_processes > 1:
        module = ["-m", "torch.distributed.run", "--nproc-per-node", str(num_processes), *module]
    with disk_errors(log):
        stream = log.open("a", encoding="utf-8")
    with (
        stream,
        subprocess.Popen(
            [sys.executable, *module, "train", *words],
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=_die_with_parent,
        ) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            stream.write(line)
            stream.flush()
            if line.strip():
                report(line.rstrip())
        return process.wait()


def _die_with_parent() -> None:
    # Otherwise a killed comparison leaves a training running, which locks its folder.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
