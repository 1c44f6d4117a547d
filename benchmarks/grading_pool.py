"""How the grader pool scales with its workers, and what the lines of `tbench grade --jsonl` cost on top.

    python benchmarks/grading_pool.py                          # 1 and 2 workers, golds invented
    python benchmarks/grading_pool.py --workers 1 2 4 8 --data FOLDER     # golds of the six benchmarks

Two mixes, half of each right and half wrong, no two completions alike: `forms`, the surface forms in which models write
(the fast rules decide them in the calling thread, so that more workers change nothing), and `spellings`, answers so
different from their gold that only a worker can tell (\\sqrt{12} for 2\\sqrt{3}). Rows of a mix are measured in turns,
`--repeats` times, and the best of each is printed, so that other work on the machine falls on all alike. Columns:
verdicts per second, their ratio to the first row's, and processor microseconds a verdict in the calling process and in
the workers together: the first bounds what any number of workers can reach. The pools' workers run warm: their start is
not counted.
"""

import argparse
import io
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from grading_speed import INVENTED, REASONING, cases_of, real_golds

from tbrm_bench.grading import GraderPool
from tbrm_bench.records import Gold, SampleKey, Status
from tbrm_bench.run.grade_lines import grade_lines

Case = tuple[str, Gold, bool]


class Timing(NamedTuple):
    """One measured pass."""

    per_s: float
    caller_us: float
    workers_us: float
    right: float


def forms(golds: Sequence[Gold], count: int) -> list[Case]:
    """Return completions as models write them."""
    cases = cases_of(golds, count, random.Random(0))
    return [(f"Attempt {index}. {case.text}", case.gold, case.right) for index, case in enumerate(cases)]


def spellings(count: int) -> list[Case]:
    """Return completions whose answers only high precision can judge."""
    cases: list[Case] = []
    for index in range(count):
        root = index + 5
        under = 4 * root + (index % 2)
        text = rf"{REASONING} So the length is $\boxed{{\sqrt{{{under}}}}}$."
        cases.append((text, Gold((rf"2\sqrt{{{root}}}",)), index % 2 == 0))
    return cases


def time_pool(cases: Sequence[Case], num_workers: int) -> Timing:
    """Grade all cases in a pool whose workers are running."""
    with GraderPool(num_workers) as pool:
        _warm_up(pool)
        pids = pool.workers.pids
        before, caller, started = _cpu_s(pids), time.process_time(), time.perf_counter()
        for index, (text, gold, _) in enumerate(cases):
            pool.submit(SampleKey("", "", index), text, gold, "stop")
        verdicts = pool.drain(wait=True)
        elapsed, caller = time.perf_counter() - started, time.process_time() - caller
        workers = _cpu_s(pids) - before
    right = sum((found.status is Status.CORRECT) == cases[key.sample_index][2] for key, found in verdicts)
    num = len(cases)
    return Timing(num / elapsed, caller / num * 1e6, workers / num * 1e6, right / num)


def time_lines(cases: Sequence[Case], num_workers: int) -> Timing:
    """Grade all cases as lines of JSON; the start of the workers is counted."""
    lines = "".join(json.dumps({"gold": list(gold.answers), "prediction": text}) + "\n" for text, gold, _ in cases)
    stream = io.BytesIO(lines.encode())
    caller, started = time.process_time(), time.perf_counter()
    replies = [reply for part in grade_lines(stream, num_workers=num_workers) for reply in part]
    elapsed, caller = time.perf_counter() - started, time.process_time() - caller
    right = sum(json.loads(reply.text)["correct"] == case[2] for reply, case in zip(replies, cases, strict=True))
    return Timing(len(cases) / elapsed, caller / len(cases) * 1e6, float("nan"), right / len(cases))


def _warm_up(pool: GraderPool) -> None:
    """Give the workers questions until all of them were needed."""
    root = 0
    while len(pool.workers.pids) < pool.workers.num_workers:
        root += 1
        pool.submit(SampleKey("", "", root), rf"\boxed{{\sqrt{{{4 * root}}}}}", Gold((rf"2\sqrt{{{root}}}",)), "stop")
        time.sleep(0.001)
    pool.drain(wait=True)


def _cpu_s(pids: Sequence[int]) -> float:
    """Return the processor seconds that the processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(rows: dict[str, Callable[[], Timing]], repeats: int) -> dict[str, Timing]:
    """Return the best of each row, measured in turns."""
    best: dict[str, Timing] = {}
    for _ in range(repeats):
        for name, run in rows.items():
            timing = run()
            best[name] = max(best.get(name, timing), timing)
    return best


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder with the rows of the six benchmarks")
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options.add_argument("--count", type=int, default=4000, help="completions of the mix `forms`; spellings: a quarter")
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    golds = [gold for part in (real_golds(chosen.data) if chosen.data else INVENTED).values() for gold in part]
    mixes = {"forms": forms(golds, chosen.count), "spellings": spellings(chosen.count // 4)}
    print(f"{'mix':<11}{'how':<18}{'verdicts/s':>11}{'ratio':>7}{'caller us':>11}{'workers us':>12}{'right':>7}")
    for name, cases in mixes.items():
        rows: dict[str, Callable[[], Timing]] = {}
        for num in chosen.workers:
            rows[f"pool, {num} workers"] = lambda num=num, cases=cases: time_pool(cases, num)  # type: ignore[misc]
        rows["--jsonl, 1 worker"] = lambda cases=cases: time_lines(cases, 1)  # type: ignore[misc]
        best = measure(rows, chosen.repeats)
        first = next(iter(best.values())).per_s
        for row, timing in best.items():
            costs = f"{timing.caller_us:>11.0f}{timing.workers_us:>12.0f}{timing.right:>7.3f}"
            print(f"{name:<11}{row:<18}{timing.per_s:>11.0f}{timing.per_s / first:>7.2f}{costs}")


if __name__ == "__main__":
    main()
