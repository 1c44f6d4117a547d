"""What `tbench eval` costs beside a bare vLLM loop: the same requests, the same engine, in turn, in one process.

    python benchmarks/eval_overhead.py --suite tbrm6 --data DIR --samples 4 --max-tokens 64

The bare loop is `LLM.generate` over all requests at once: no store, no grader, no seeds looked up. Ours is
`pipeline.run` into a new run directory: requests drawn lazily, every sample committed, graded, scored, results.json
written. Both are timed from the moment the engine is loaded; tokens a second count new tokens. Each round runs both,
every other round in the other order, so that a drifting machine hits both; the ratio is taken pair by pair.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Self

from tbrm_bench.engines.vllm import VllmEngine, sampling_params
from tbrm_bench.records import SampleKey, SampleRequest
from tbrm_bench.run.pipeline import run
from tbrm_bench.run.plan import EvalOptions, Plan
from tbrm_bench.run.prepare import prepare
from tbrm_bench.store import RunStore
from tbrm_bench.tasks.spec import load_suite


class Loaded:
    """An engine that is loaded already: entering and leaving it does nothing."""

    def __init__(self, engine: VllmEngine) -> None:
        self.identity = engine.identity
        self.generate = engine.generate

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def main() -> None:
    """Print tokens/s of both and their ratio, round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin:tiny")
    parser.add_argument("--suite", default="quickstart")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rounds", type=int, default=6)
    args = parser.parse_args()
    suite = load_suite(args.suite)
    plan = prepare(
        EvalOptions(
            model=args.model,
            tasks=suite.tasks,
            protocol=suite.protocol,
            samples=args.samples,
            max_tokens=args.max_tokens,
            limit=args.limit,
            data_dir=args.data,
        )
    )
    assert isinstance(plan.engine, VllmEngine)
    with plan.engine as engine:
        list(engine.generate(all_requests(plan)[:64]))  # warm-up: first batches compile kernels
        ratios = [compare(engine, plan, number) for number in range(1, args.rounds + 1)]
    print(f"median ratio ours / bare: {statistics.median(ratios):.3f} over {len(ratios)} rounds")


def compare(engine: VllmEngine, plan: Plan, number: int) -> float:
    """Run both once, each from an empty prefix cache; return the ratio of their tokens/s."""
    if number % 2:
        bare, ours = bare_loop(engine, plan), our_run(engine, plan)
    else:
        ours, bare = our_run(engine, plan), bare_loop(engine, plan)
    print(f"round {number}: bare {bare:,.0f} tok/s, ours {ours:,.0f} tok/s, ratio {ours / bare:.3f}", flush=True)
    return ours / bare


def bare_loop(engine: VllmEngine, plan: Plan) -> float:
    """Return tokens/s of one `LLM.generate` over every request."""
    assert engine.llm is not None
    requests = all_requests(plan)
    prompts = [{"prompt_token_ids": list(request.prompt_token_ids)} for request in requests]
    params = [sampling_params(request) for request in requests]
    engine.llm.reset_prefix_cache()
    started = time.perf_counter()
    outputs = engine.llm.generate(prompts, params, use_tqdm=False)
    elapsed_s = time.perf_counter() - started
    return sum(len(output.outputs[0].token_ids) for output in outputs) / elapsed_s


def our_run(engine: VllmEngine, plan: Plan) -> float:
    """Return tokens/s of a whole run: generated, stored, graded, scored, results written."""
    assert engine.llm is not None
    engine.llm.reset_prefix_cache()
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        started = time.perf_counter()
        run(replace(plan, engine=Loaded(engine), run_dir=run_dir), lambda progress: None)
        elapsed_s = time.perf_counter() - started
        with RunStore.open_reader(run_dir) as store:
            return sum(len(sample.token_ids) for sample in store.samples()) / elapsed_s


def all_requests(plan: Plan) -> list[SampleRequest]:
    """Return the requests of a complete run, in its order."""
    return [
        request
        for task in plan.tasks
        for request in task.requests(
            (SampleKey(*problem.key, index) for problem in task.problems for index in range(task.num_samples)),
            plan.seed,
        )
    ]


if __name__ == "__main__":
    main()
