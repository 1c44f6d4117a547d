"""The live line of a run on stderr: samples, tokens per second, time left, the score so far.

Off a terminal there is no bar: one plain line when the stage changes and at most one every ten seconds.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tbrm_bench.cli.talk import bars, say
from tbrm_bench.foreign import for_terminal
from tbrm_bench.run.pipeline import Progress

LINE_INTERVAL_S = 10.0


@contextmanager
def live_progress() -> Iterator[Callable[[Progress], None]]:
    """Yield the function that `pipeline.run` reports its progress to."""
    console = bars()
    if not console.is_terminal:
        yield _plain_lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        row = bar.add_task("starting", total=None, detail="")

        def show(progress: Progress) -> None:
            bar.update(
                row,
                description=for_terminal(progress.stage),
                total=progress.num_total,
                completed=progress.num_done,
                detail=describe(progress),
            )

        yield show


def describe(progress: Progress) -> str:
    """Return tokens per second and the share of correct samples so far, if known."""
    parts = []
    if progress.generation_started is not None and progress.num_tokens:
        elapsed_s = time.monotonic() - progress.generation_started
        parts.append(f"{progress.num_tokens / max(elapsed_s, 1e-9):,.0f} tok/s")
    if progress.num_graded:
        parts.append(f"{progress.num_correct / progress.num_graded:.1%} correct so far")
    return ", ".join(parts)


def _plain_lines() -> Callable[[Progress], None]:
    last_stage, last_time = "", 0.0

    def show(progress: Progress) -> None:
        nonlocal last_stage, last_time
        now = time.monotonic()
        if progress.stage == last_stage and now - last_time < LINE_INTERVAL_S:
            return
        last_stage, last_time = progress.stage, now
        detail = describe(progress)
        line = f"{progress.stage}: {progress.num_done}/{progress.num_total} samples"
        say(f"{line}, {detail}" if detail else line)

    return show
