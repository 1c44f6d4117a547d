"""The trainings of a comparison, one after another, each an ordinary `tbench train` in a process of its own.

One that fails is told and kept for another try; the rest goes on. Finished ones are not touched again. Trainings do not
run at the same time, since the ledger compares their seconds.
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
Tell = Callable[[str], None]
# Runs `tbench train WORDS`, writes what it prints to the log, tells each line; returns the exit code.
Launch = Callable[[Sequence[str], Path, Tell], int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training stands after its turn; `reason` says why it failed."""

    run: Run
    status: Literal["finished", "kept", "failed"]  # kept: it was finished before
    reason: str = ""


def train_all(plan: ComparisonPlan, launch: Launch, tell: Tell) -> list[Outcome]:
    """Train what is not finished yet, in the plan's order.

    Raises UserError if another comparison works there, or if an input has changed since the first training.
    """
    with locked(plan.output):
        return [_train(plan, run, number, launch, tell) for number, run in enumerate(plan.runs, start=1)]


def _train(plan: ComparisonPlan, run: Run, number: int, launch: Launch, tell: Tell) -> Outcome:
    place = f"[{number}/{len(plan.runs)}] {run.name}"
    if run.is_finished():
        tell(f"{place}: kept, {run.output} is finished")
        return Outcome(run, "kept")
    check_inputs(plan, run, tell)
    tell(f"{place}: {'goes on' if last_checkpoint(run.output) else 'starts'}")
    with disk_errors(plan.output):
        run.output.parent.mkdir(parents=True, exist_ok=True)
    words = [str(plan.arm_file(run.arm)), f"seed={run.seed}", f"output={run.output}"]
    code = launch(words, run.log, lambda line: tell(f"  {run.name}: {line}"))
    if code == 0 and run.is_finished():
        return Outcome(run, "finished")
    reason = _reason(run.log, code)
    tell(f"{place}: failed ({reason}); the rest goes on, all of it is in {run.log}")
    return Outcome(run, "failed", reason)


def _reason(log: Path, code: int) -> str:
    """Return the last error that a training told, or what ended it."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    errors = [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")]
    if name := ended_by(code):
        return f"ended by {name}"
    return errors[-1] if errors else f"exit code {code}"


def launch_process(words: Sequence[str], log: Path, tell: Tell, *, num_processes: int = 1) -> int:
    """Run a training in a new process, or in several under torchrun; they end when this one does."""
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
                tell(line.rstrip())
        return process.wait()


def _die_with_parent() -> None:
    # Else a comparison that was killed leaves a training behind, which keeps the next one out of its folder.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
