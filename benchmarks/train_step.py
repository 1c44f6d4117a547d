"""Seconds a step of TBRM, GRPO and PPO, by phase, and tokens a second: the shipped tiny recipes as they are.

    python benchmarks/train_step.py --steps 6 --arms tbrm,grpo,ppo [KEY=VALUE ...]

Each arm is one `tbench train` in a process of its own; the first step, which pays for what is started lazily, is left
out. Same model, prompts, seeds and batch in every arm. Prints a table; other work on the machine is in the numbers.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).resolve().parents[1] / "train" / "recipes"
PHASES = ("rollout", "update", "sync")


def main() -> None:
    """Run the arms one after another and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--arms", default="tbrm,grpo,ppo")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    print("arm    rollout s  update s    sync s    step s  tokens/s  peak GiB")
    for arm in options.arms.split(","):
        with tempfile.TemporaryDirectory() as folder:
            print(row(arm, measure(arm, Path(folder) / "run", options.steps, options.overrides)), flush=True)


def measure(arm: str, output: Path, steps: int, overrides: list[str]) -> list[dict[str, Any]]:
    """Train and return one dictionary a step, metrics and timings together, without the first."""
    words = [f"output={output}", f"optimizer.steps={steps}", f"checkpoints.every={steps}", *overrides]
    command = [sys.executable, "-m", "tbrm_bench", "train", str(RECIPES / f"tiny-{arm}.toml"), *words]
    subprocess.run(command, check=True, capture_output=True)
    lines: dict[int, dict[str, Any]] = {}
    for name in ("metrics.jsonl", "timings.jsonl"):
        for line in (output / name).read_text().splitlines():
            values = json.loads(line)
            lines.setdefault(values["step"], {}).update(values)
    return [values for step, values in sorted(lines.items()) if step > 1]


def row(arm: str, steps: list[dict[str, Any]]) -> str:
    """Return medians over the steps as one line."""
    seconds = [statistics.median(step[f"seconds/{phase}"] for step in steps) for phase in PHASES]
    tokens = statistics.median(step["tokens/trained"] for step in steps)
    peak = max(step["memory_gib"] for step in steps)
    cells = "".join(f"{value:10.2f}" for value in (*seconds, sum(seconds)))
    return f"{arm:6}{cells}{tokens / sum(seconds):10.0f}{peak:10.2f}"


if __name__ == "__main__":
    main()
