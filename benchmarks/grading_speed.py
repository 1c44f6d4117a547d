r"""Verdicts per processor second beside math-verify: where answers repeat, where none does, and on hostile ones.

    python benchmarks/grading_speed.py                    # invented golds
    python benchmarks/grading_speed.py --data FOLDER      # the golds of the six benchmarks, read from FOLDER

    cached     problems with `--samples` completions each; a problem's answers repeat, as the samples of a run do
    uncached   every pair of gold and answer once: half are the gold, in the spellings in which models write; half are
               another gold or a near miss, a digit, a sign or a relation away. A tenth needs 60 digits, in a worker
    hostile    answers that are long, deep, huge, or never computed: a list of kinds, each with several sizes

The two graders take turns, `--rounds` times, each round in a fresh process with completions of its own, so that no
cache outlives it. What counts is processor seconds, of the process and its children, imports left out: extraction,
worker processes, their start and their IPC are in ours; in math-verify's its parse and verify alone, its timeouts off.
An answer has 5 processor seconds from both, kept by the kernel; math-verify is killed by it and started again, and
pays the 5 seconds. Printed: completions a round of each; verdicts per processor second of both (medians); the ratio,
median, least and greatest of the rounds; and the share of verdicts that is what it should be.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tbrm_bench.grading import GraderPool, normalize_gold
from tbrm_bench.grading.model_forms import near_misses
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
LIMIT_S = 5.0
NUM_RIGHT, NUM_WRONG = 3, 4  # spellings of the right answer, and wrong ones, among which a problem's samples choose
HOSTILE: dict[str, Callable[[int], str]] = {
    "long sum": lambda n: "+".join(str(k) for k in range(200 * n)),
    "long digits": lambda n: "7" * (700 * n),
    "long words": lambda n: r"\text{" + "seven " * (250 * n) + "}",
    "long list": lambda n: ", ".join(str(k) for k in range(90 * n)),
    "deep brackets": lambda n: "(" * (40 * n) + "7" + ")" * (40 * n),
    "deep fractions": lambda n: r"\frac{1}{1+" * (20 * n) + "7" + "}" * (20 * n),
    "deep roots": lambda n: r"\sqrt{1+" * (20 * n) + "7" + "}" * (20 * n),
    "deep powers": lambda n: "x^{" * (20 * n) + "7" + "}" * (20 * n),
    "huge tower": lambda n: "9^{" * (2 + n) + "9" + "}" * (2 + n),
    "huge factorial": lambda n: f"({10 ** (3 * n)})!",
    "huge power": lambda n: f"(7+x)^{{{10 ** (3 + 2 * n)}}}",
    "huge binomial": lambda n: rf"\binom{{{10 ** (3 + 3 * n)}}}{{{10 ** (2 + 2 * n)}}}",
    "huge exponent": lambda n: f"7e{10 ** (2 + n)}",
    "many letters": lambda n: "+".join(f"x_{{{k}}}" for k in range(20 * n)),
    "many signs": lambda n: "7" + r" \pm 1" * (12 * n),
    "open box": lambda n: "{" * (100 * n),
    "many values": lambda n: r" \approx ".join(str(k) for k in range(40 * n)),
    "sum": lambda n: rf"\sum_{{k=1}}^{{{10 ** (2 * n)}}} \frac{{1}}{{k^2+{n}}}",
    "product": lambda n: rf"\prod_{{k=1}}^{{{10 ** (3 * n)}}} (1+\frac{{{n}}}{{k}})",
    "integral": lambda n: rf"\int_0^{{\infty}} e^{{-x^{{{n + 4}}}}}\sin(x^{{{n}}}) \,dx",
}


class Case(NamedTuple):
    """One completion, its gold, and whether it is right."""

    text: str
    gold: Gold
    right: bool


class Round(NamedTuple):
    """What one grader did in one round."""

    num: int
    cpu_s: float
    right: float


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
        cases.append(Case(REASONING + rng.choice(_forms(source)), gold, right))
    return cases


def cached(golds: Sequence[Gold], count: int, samples: int, rng: random.Random) -> list[Case]:
    """Return `samples` completions for each of some problems, in turns, half of them right."""
    cases = []
    for _ in range(max(1, count // samples)):
        gold = rng.choice(golds)
        others = [other for other in rng.choices(golds, k=NUM_WRONG) if other.answers != gold.answers]
        forms = [rng.choices(_forms(gold), k=NUM_RIGHT), [rng.choice(_forms(other)) for other in others]]
        for index in range(samples):
            right = index % 2 == 0 or not others
            form = rng.choice(forms[0] if right else forms[1])
            cases.append(Case(f"Attempt {index}. {REASONING}{form}", gold, right))
    return cases


def uncached(golds: Sequence[Gold], count: int, rng: random.Random) -> list[Case]:
    """Return completions of which no two give the same answer to the same gold."""
    cases: dict[tuple[Gold, str], Case] = {}
    while len(cases) < count:
        index = len(cases)
        gold, form, right = rng.choice(golds), "", index % 2 == 0
        if index % 20 < 2:
            root = rng.randrange(5, 10**6)
            gold, form = Gold((rf"2\sqrt{{{root}}}",)), rf"$\boxed{{\sqrt{{{4 * root + (not right)}}}}}$"
        elif right:
            form = rng.choice(_forms(gold))
        elif index % 4 == 1:
            form = rf"$\boxed{{{rng.choice(near_misses(gold.answers))}}}$"
        elif (other := rng.choice(golds)).answers != gold.answers:
            form = rng.choice(_forms(other))
        if form:
            cases.setdefault((gold, form), Case(REASONING + form, gold, right))
    return list(cases.values())


def hostile(count: int, rng: random.Random) -> list[Case]:
    """Return wrong answers that are made to break a grader, each kind as often as the others."""
    kinds = list(HOSTILE.values())
    golds = [Gold((str(rng.randrange(10, 1000)),)) for _ in range(count)]
    texts = [kinds[index % len(kinds)](1 + index // len(kinds) % 3) for index in range(count)]
    return [Case(rf"{REASONING}\boxed{{{text}}}", gold, right=False) for text, gold in zip(texts, golds, strict=True)]


def _forms(gold: Gold) -> list[str]:
    return [form for form in surface_forms(gold) if "<think>" not in form]


def grade_ours(cases: Sequence[Case]) -> Round:
    """Grade here, with one worker; everything counts but the imports."""
    before = _cpu_s()
    with GraderPool(num_workers=1, time_limit_s=LIMIT_S) as pool:
        for index, case in enumerate(cases):
            pool.submit(SampleKey("", "", index), case.text, case.gold, "stop")
        verdicts = pool.drain(wait=True)
    agreed = sum((found.status is Status.CORRECT) == cases[key.sample_index].right for key, found in verdicts)
    return Round(len(cases), _cpu_s() - before, agreed / len(cases))


def _cpu_s() -> float:
    return sum(os.times()[:4])


def grade_theirs(cases: Sequence[Case]) -> None:
    """Print the processor seconds and the verdict of each case; the kernel ends this process past the limit."""
    from math_verify import parse, verify

    for case in cases:
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        started = time.process_time()
        try:
            gold = parse(f"${', '.join(case.gold.answers)}$", parsing_timeout=None)
            verdict = bool(verify(gold, parse(case.text, parsing_timeout=None), timeout_seconds=None))
        except Exception:  # noqa: BLE001  # it raises on what it cannot read; a harness would count that as wrong
            verdict = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps([time.process_time() - started, verdict]), flush=True)


def run_round(who: str, cases: Sequence[Case]) -> Round:
    """Have a fresh process grade; where math-verify is killed, another one goes on behind that case."""
    lines = [json.dumps([case.text, case.gold.answers, case.right]) + "\n" for case in cases]
    seconds, right, done = 0.0, 0, 0
    while done < len(cases):
        command = [sys.executable, str(Path(__file__)), "--grade-as", who]
        ended = subprocess.run(command, input="".join(lines[done:]), stdout=subprocess.PIPE, text=True, check=False)
        replies = [json.loads(line) for line in ended.stdout.splitlines()]
        if who == "ours":
            return Round(*replies[0])
        for spent, verdict in replies:
            seconds += spent
            right += verdict == cases[done].right
            done += 1
        if done < len(cases):
            assert ended.returncode == -signal.SIGPROF, f"math-verify ended with {ended.returncode}"
            seconds, right, done = seconds + LIMIT_S, right + (not cases[done].right), done + 1
    return Round(len(cases), seconds, right / len(cases))


def show(name: str, rounds: Sequence[tuple[Round, Round]]) -> None:
    """Print the row of a mix."""
    ratios = [(ours.num / ours.cpu_s) / (theirs.num / theirs.cpu_s) for ours, theirs in rounds]
    rates = [statistics.median(one.num / one.cpu_s for one in each) for each in zip(*rounds, strict=True)]
    right = [statistics.mean(one.right for one in each) for each in zip(*rounds, strict=True)]
    counts = f"{rounds[0][0].num:>7}{rounds[0][1].num:>6}"
    ratio = f"{statistics.median(ratios):>8.1f}{min(ratios):>8.1f}{max(ratios):>8.1f}"
    print(f"{name:<10}{counts}{rates[0]:>12.0f}{rates[1]:>10.1f}{ratio}{right[0]:>8.3f}{right[1]:>8.3f}", flush=True)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder with the rows of the six benchmarks")
    options.add_argument("--count", type=int, default=3200, help="completions a round for this grader")
    options.add_argument("--math-verify-count", type=int, default=256, help="of these, for math-verify")
    options.add_argument("--hostile-count", type=int, default=60, help="hostile completions a round, for both")
    options.add_argument("--samples", type=int, default=32, help="completions a problem where answers repeat")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--mixes", nargs="+", default=["cached", "uncached", "hostile"])
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--grade-as", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.grade_as:
        rows = map(json.loads, sys.stdin)
        cases = [Case(text, Gold(tuple(answers)), right) for text, answers, right in rows]
        print(json.dumps(grade_ours(cases))) if chosen.grade_as == "ours" else grade_theirs(cases)
        return
    golds = [gold for each in (real_golds(chosen.data) if chosen.data else INVENTED).values() for gold in each]
    draw: dict[str, Callable[[random.Random], list[Case]]] = {
        "cached": lambda rng: cached(golds, chosen.count, chosen.samples, rng),
        "uncached": lambda rng: uncached(golds, chosen.count, rng),
        "hostile": lambda rng: hostile(chosen.hostile_count, rng),
    }
    print(
        f"{'mix':<10}{'n':>7}{'m-v n':>6}{'ours/cpu s':>12}{'m-v/cpu s':>10}{'ratio':>8}{'least':>8}{'most':>8}", end=""
    )
    print(f"{'right':>8}{'m-v':>8}")
    for name in chosen.mixes:
        rounds = []
        for index in range(chosen.rounds):
            cases = draw[name](random.Random(f"{chosen.seed} {name} {index}"))
            few = cases if name == "hostile" else random.Random(index).sample(cases, chosen.math_verify_count)
            rounds.append((run_round("ours", cases), run_round("theirs", few)))
        show(name, rounds)


if __name__ == "__main__":
    main()
