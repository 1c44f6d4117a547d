"""Who judges rightly? This grader beside public ones on the truth set of tests/golden, each in a process of its own.

    python benchmarks/grading_accuracy.py [--lm-eval PYTHON] [--verl PYTHON]

A peer gets what its own harness would give it: the gold answer and the whole completion. A verdict that takes more than
five seconds, or an exception, is counted as "rejected", as their own harnesses do. lm-eval's minerva_math needs antlr
4.11 and verl its own environment: name the Python of one; without, these peers are left out and the output says so.
"""

import argparse
import json
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
LIMIT_S = 5.0
START_LIMIT_S = 180.0

SERVER = """
import json, logging, sys
logging.disable(logging.CRITICAL)
replies, sys.stdout = sys.stdout, sys.stderr
{code}
print("ready", file=replies, flush=True)
for line in sys.stdin:
    case = json.loads(line)
    try:
        verdict = bool(judge(case["gold"], case["prediction"]))
    except BaseException:
        verdict = False
    print(json.dumps(verdict), file=replies, flush=True)
"""
LOAD_FILE = """
import importlib.util
def load(package, inner):
    root = importlib.util.find_spec(package).submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("peer", root + inner)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
"""
PEERS = {
    "math-verify": ("own", "from math_verify import parse, verify\n"
                    "def judge(gold, text): return verify(parse('$' + gold + '$'), parse(text))"),
    "lm-eval hendrycks_math": ("own", LOAD_FILE + "peer = load('lm_eval', '/tasks/hendrycks_math/utils.py')\n"
        "def judge(gold, text):\n"
        "    doc = {'solution': '\\\\boxed{' + gold + '}'}\n"
        "    return peer.process_results(doc, [text])['exact_match']"),
    "lm-eval minerva_math": ("lm_eval", LOAD_FILE + "peer = load('lm_eval', '/tasks/minerva_math/utils.py')\n"
        "def judge(gold, text):\n"
        "    doc = {'solution': '\\\\boxed{' + gold + '}', 'answer': peer.normalize_final_answer(gold)}\n"
        "    return peer.process_results(doc, [text])['exact_match']"),
    "verl math_reward": ("verl", LOAD_FILE + "peer = load('verl', '/utils/reward_score/math_reward.py')\n"
                         "def judge(gold, text): return peer.compute_score(text, gold)"),
    "verl math_dapo": ("verl", LOAD_FILE + "peer = load('verl', '/utils/reward_score/math_dapo.py')\n"
                       "def judge(gold, text): return peer.compute_score(text, gold)['acc']"),
}  # fmt: skip


@dataclass(slots=True)
class Result:
    """Counts of one grader, all and by category."""

    right: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    false_accepts: int = 0
    false_rejects: int = 0
    num_positive: int = 0
    num_late: int = 0
    seconds: float = 0.0

    def count(self, case: dict[str, Any], verdict: bool) -> None:
        """Count one verdict."""
        correct = case["verdict"] == "correct"
        self.total[case["category"]] += 1
        self.right[case["category"]] += verdict == correct
        self.num_positive += correct
        self.false_accepts += verdict and not correct
        self.false_rejects += correct and not verdict


class Peer:
    """A grader in a process that is started anew when a verdict is late."""

    def __init__(self, python: str, code: str) -> None:
        self.command = [python, "-c", SERVER.format(code=code)]
        self.num_late = 0
        self.process: subprocess.Popen[str] | None = None

    def judge(self, gold: str, prediction: str) -> bool:
        """Return the verdict; a late one is False."""
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"gold": gold, "prediction": prediction}) + "\n")
            process.stdin.flush()
            line = self._line(process, LIMIT_S)
        except BrokenPipeError:
            line = ""
        if not line:
            self.num_late += 1
            process.kill()
            process.wait()
            self.process = None
        return line == "true"

    def _running(self) -> "subprocess.Popen[str]":
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            if self._line(self.process, START_LIMIT_S) != "ready":
                raise RuntimeError("the peer does not start")
        return self.process

    @staticmethod
    def _line(process: "subprocess.Popen[str]", limit_s: float) -> str:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], limit_s)
        return process.stdout.readline().strip() if ready else ""


def read_cases() -> Iterator[dict[str, Any]]:
    """Yield the cases whose gold and completion say everything: no switch, no token cap."""
    for path in sorted(GOLDEN.glob("grading*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            if "strict_boxed" not in case and "finish_reason" not in case:
                yield case


def gold_text(case: dict[str, Any]) -> str:
    """Return the gold as one text."""
    gold: str | list[str] = case["gold"]
    return gold if isinstance(gold, str) else ", ".join(gold)


def measure_ours(every: Sequence[dict[str, Any]]) -> Result:
    """Judge the whole set by this project's pool."""
    from tbrm_bench.grading import GraderPool
    from tbrm_bench.records import Gold, SampleKey, Status

    result = Result()
    started = time.perf_counter()
    with GraderPool() as pool:
        for index, case in enumerate(every):
            gold = case["gold"]
            answers = (gold,) if isinstance(gold, str) else tuple(gold)
            pool.submit(SampleKey("", "", index), case["prediction"], Gold(answers), "stop")
        for key, grade in pool.drain(wait=True):
            result.count(every[key.sample_index], grade.status is Status.CORRECT)
    result.seconds = time.perf_counter() - started
    return result


def measure_peer(every: Sequence[dict[str, Any]], python: str, code: str) -> Result:
    """Judge the whole set by a peer."""
    result, peer = Result(), Peer(python, code)
    peer.judge("1", r"\boxed{1}")  # imports are not timed
    peer.num_late = 0
    started = time.perf_counter()
    for case in every:
        result.count(case, peer.judge(gold_text(case), case["prediction"]))
    result.seconds, result.num_late = time.perf_counter() - started, peer.num_late
    return result


def main() -> None:
    """Print accuracy, errors of both kinds and speed, all and by category."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lm-eval", help="Python of an environment with lm-eval, math-verify and antlr 4.11")
    parser.add_argument("--verl", help="Python of an environment with verl")
    args = parser.parse_args()
    pythons = {"own": sys.executable, "lm_eval": args.lm_eval, "verl": args.verl}
    every = list(read_cases())
    results = {"tbrm-bench": measure_ours(every)}
    for name, (place, code) in PEERS.items():
        if pythons[place] is None:
            print(f"{name} is left out: no Python was named for it", file=sys.stderr)
        else:
            results[name] = measure_peer(every, str(pythons[place]), code)
    print_totals(results)
    print_categories(results)


def print_totals(results: dict[str, Result]) -> None:
    """Print one row a grader, in Markdown."""
    print("| grader | right | wrong answers accepted | right answers rejected | late or died | verdicts/s |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, result in results.items():
        total = sum(result.total.values())
        cells = (
            f"{100 * sum(result.right.values()) / total:.2f} %",
            f"{100 * result.false_accepts / (total - result.num_positive):.2f} %",
            f"{100 * result.false_rejects / result.num_positive:.2f} %",
            str(result.num_late),
            f"{total / result.seconds:,.0f}",
        )
        print(f"| {name} | {' | '.join(cells)} |")


def print_categories(results: dict[str, Result]) -> None:
    """Print one row a category: the share of right verdicts of each grader."""
    print(f"\n| category | cases | {' | '.join(results)} |")
    print(f"|---|---:|{'---:|' * len(results)}")
    for category, count in sorted(next(iter(results.values())).total.items()):
        cells = [f"{100 * result.right[category] / count:.1f}" for result in results.values()]
        print(f"| {category} | {count} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
