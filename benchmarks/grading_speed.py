"""Verdicts per second on one core: this grader against math-verify alone, on the same completions.

    python benchmarks/grading_speed.py                    # invented golds
    python benchmarks/grading_speed.py --data FOLDER      # the golds of the six benchmarks, read from FOLDER

Each mix holds completions in the forms in which models write, half of them right (the gold, respelt) and half wrong
(the gold of another problem). The printed columns: completions, verdicts/s of both, their ratio, and the share of
verdicts that is what it should be. Ours includes everything: extraction, the worker process, its start and its IPC;
math-verify runs in this process with its timeouts off. Answers repeat, as k samples of one problem do, and ours caches
them (math-verify only its last few); and most right answers are the gold's own text in another wrapping, which is the
easy case. So this measures throughput on a run's mix, not accuracy: `tests/golden` does that.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tbrm_bench.grading import GraderPool, normalize_gold
from tbrm_bench.grading.selftest import surface_forms
from tbrm_bench.records import Gold, SampleKey, Status

COLUMNS = {
    "aime24": ("answer", "integer"),
    "aime25": ("expected_answer", "integer"),
    "amc23": ("answer", "integer"),
    "math500": ("answer", "latex"),
    "minerva_math": ("solution", "minerva"),
    "olympiadbench": ("final_answer", "olympiad_list"),
}
INVENTED = {
    "integers": [Gold((str(3 * n),)) for n in range(200)],
    "fractions": [Gold((rf"\frac{{{n}}}{{{n + 7}}}",)) for n in range(1, 200)],
    "roots": [Gold((rf"{n}\sqrt{{{2 * n + 1}}}",)) for n in range(1, 200)],
    "expressions": [Gold((rf"x^{{2}}+{n}x-{n + 1}",)) for n in range(1, 200)],
    "lists": [Gold((str(n), str(n + 5), rf"\frac{{{n}}}{{3}}")) for n in range(200)],
}
REASONING = "We consider the cases one after the other, with $a = 3$ and $b = \\frac{7}{2}$, and add them up. " * 12


class Case(NamedTuple):
    """One completion, its gold, and whether it is right."""

    text: str
    gold: Gold
    right: bool


def real_golds(folder: Path) -> dict[str, list[Gold]]:
    """Return the golds of each benchmark whose rows are in the folder."""
    golds = {}
    for name, (column, rule) in COLUMNS.items():
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        golds[name] = [Gold(normalize_gold(row[column], rule)) for row in rows]
    return golds


def cases_of(golds: Sequence[Gold], count: int, rng: random.Random) -> list[Case]:
    """Draw completions, half right and half wrong."""
    cases = []
    for index in range(count):
        gold = golds[rng.randrange(len(golds))]
        right = index % 2 == 0
        source = gold if right else rng.choice(golds)
        if not right and source.answers == gold.answers:
            continue
        forms = [form for form in surface_forms(source) if "<think>" not in form]
        cases.append(Case(REASONING + rng.choice(forms), gold, right))
    return cases


def time_ours(cases: Sequence[Case]) -> tuple[float, float]:
    """Return (verdicts/s, share of expected verdicts)."""
    started = time.perf_counter()
    with GraderPool(num_workers=1) as pool:
        for index, case in enumerate(cases):
            pool.submit(SampleKey("", "", index), case.text, case.gold, "stop")
        verdicts = pool.drain(wait=True)
    elapsed = time.perf_counter() - started
    agreed = sum((found.status is Status.CORRECT) == cases[key.sample_index].right for key, found in verdicts)
    return len(cases) / elapsed, agreed / len(cases)


def time_math_verify(cases: Sequence[Case]) -> tuple[float, float]:
    """Return (verdicts/s, share of expected verdicts); the import is not counted."""
    from math_verify import parse, verify

    started = time.perf_counter()
    agreed = 0
    for case in cases:
        gold = parse(f"${', '.join(case.gold.answers)}$", parsing_timeout=None)
        found = parse(case.text, parsing_timeout=None)
        agreed += bool(verify(gold, found, timeout_seconds=None)) == case.right
    return len(cases) / (time.perf_counter() - started), agreed / len(cases)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder with the rows of the six benchmarks")
    options.add_argument("--count", type=int, default=2000, help="completions a mix for this grader")
    options.add_argument("--math-verify-count", type=int, default=200, help="of these, for math-verify")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    mixes = real_golds(chosen.data) if chosen.data else dict(INVENTED)
    mixes["all"] = [gold for golds in mixes.values() for gold in golds]
    print(f"{'mix':<14}{'n':>7}{'ours/s':>10}{'math-verify/s':>15}{'ratio':>8}{'ours right':>12}{'m-v right':>11}")
    for name, golds in mixes.items():
        cases = cases_of(golds, chosen.count, random.Random(chosen.seed))
        ours, agreed = time_ours(cases)
        theirs, their_agreed = time_math_verify(cases[: chosen.math_verify_count])
        rates = f"{ours:>10.0f}{theirs:>15.0f}{ours / theirs:>8.0f}"
        print(f"{name:<14}{len(cases):>7}{rates}{agreed:>12.3f}{their_agreed:>11.3f}")


if __name__ == "__main__":
    main()
