"""A step of GRPO, rollouts included, here and in TRL's GRPOTrainer: seconds and peak memory, side by side on a CPU.

    python benchmarks/train_trl.py --trl /path/with/trl                      # pip install --no-deps --target it trl
    python benchmarks/train_trl.py --trl /path/with/trl --size small         # random Qwen2 in place of builtin:tiny

Both get the same weights in float32, the same prompts in the same order, the same number of samples, the same cap on
new tokens, one update a batch, no reference, AdamW, the same number of trajectories in a micro-batch, no gradient
checkpointing, the same threads. Samples are drawn by each with its own generator, so that lengths agree in the mean
only: tokens a step stand in the table. TRL samples with transformers (its vLLM mode asks for a GPU) and compares a
reward with a string; here the bench's grader judges in a worker process.

Contenders: `vllm` and `hf` are `tbench train` with that rollout engine; `trl`. Each runs in processes of its own;
seconds are the median over the steps after the first, memory the largest sum of resident pages of all its processes,
looked at twenty times a second (Linux).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from random_qwen2 import SIZES, write_model

RECIPE = Path(__file__).resolve().parents[1] / "train" / "recipes" / "tiny-grpo.toml"
SEED = 1


def main() -> None:
    """Run the contenders one after another and print a Markdown table."""
    options = _options()
    if options.child:
        train_with_trl(options, Path(options.child))
        return
    with tempfile.TemporaryDirectory() as folder:
        model = "builtin:tiny"
        if options.size != "tiny":
            model = str(Path(folder) / "model")
            write_model(options.size, Path(model))
        print("| contender | s a step | of it rollout | new tokens a step | new tokens/s | peak GiB |")
        print("|---|---|---|---|---|---|")
        for contender in options.contenders.split(","):
            print(row(contender, *measure(contender, model, Path(folder) / contender, options)), flush=True)


def words_of(model: str, output: Path, options: argparse.Namespace) -> list[str]:
    """Return what is laid over the shipped recipe."""
    return [
        f"model={model}",
        f"output={output}",
        f"seed={SEED}",
        "prompts.num_prompts=512",
        "prompts.validation=8",
        f"rollout.prompts_per_step={options.prompts}",
        f"rollout.samples_per_prompt={options.samples}",
        f"rollout.max_tokens={options.tokens}",
        f"optimizer.steps={options.steps}",
        "optimizer.learning_rate=1e-6",
        "optimizer.schedule=constant",
        "optimizer.warmup_steps=0",
        f"checkpoints.every={options.steps}",
        "evaluation.every=1000000",
        f"deepspeed.num_threads={options.threads}",
        f"deepspeed.micro_batch_tokens={options.micro * (options.tokens + 64)}",
    ]


def measure(
    contender: str, model: str, output: Path, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], float]:
    """Return one dictionary a step and the peak memory in GiB."""
    output.mkdir()
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), TOKENIZERS_PARALLELISM="false")
    words = words_of(model, output / "run", options)
    if contender == "trl":
        job = {"words": words, "steps": str(output / "steps.jsonl")}
        (output / "job.json").write_text(json.dumps(job), encoding="utf-8")
        environment["PYTHONPATH"] = options.trl
        command = [sys.executable, __file__, *sys.argv[1:], "--child", str(output / "job.json")]
    else:
        command = [sys.executable, "-m", "tbrm_bench", "train", str(RECIPE), *words, f"rollout.engine={contender}"]
    with (output / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        peak = watch(process)
    if process.returncode:
        sys.exit(f"{contender} failed:\n{(output / 'log').read_text(encoding='utf-8')[-2000:]}")
    files = ["steps.jsonl"] if contender == "trl" else ["run/metrics.jsonl", "run/timings.jsonl"]
    found: dict[int, dict[str, Any]] = {}
    for name in files:
        for line in (output / name).read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            found.setdefault(values["step"], {}).update(values)
    return [values for step, values in sorted(found.items()) if step > 1], peak


def watch(process: "subprocess.Popen[bytes]") -> float:
    """Wait for the process; return the largest sum of resident pages of it and its descendants, in GiB."""
    peak, done = 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not done.wait(0.05):
            peak = max(peak, sum(_resident(number) for number in _family(process.pid)))

    watcher = threading.Thread(target=look)
    watcher.start()
    process.wait()
    done.set()
    watcher.join()
    return peak / 2**30


def _family(number: int) -> list[int]:
    found = [number]
    for file in Path(f"/proc/{number}/task").glob("*/children"):
        try:
            found += [each for child in file.read_text().split() for each in _family(int(child))]
        except OSError:  # it ended meanwhile
            continue
    return found


def _resident(number: int) -> int:
    try:
        return int(Path(f"/proc/{number}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def row(contender: str, steps: list[dict[str, Any]], peak: float) -> str:
    """Return medians over the steps as one line."""
    phases = ("rollout", "update", "sync")
    total = statistics.median(step.get("seconds") or sum(step[f"seconds/{name}"] for name in phases) for step in steps)
    rollout = statistics.median(step["seconds/rollout"] for step in steps)
    tokens = statistics.mean(step["tokens/generated"] for step in steps)
    return f"| {contender} | {total:.2f} | {rollout:.2f} | {tokens:,.0f} | {tokens / total:,.0f} | {peak:.2f} |"


def train_with_trl(options: argparse.Namespace, job: Path) -> None:
    """Train in this process and write a line a step."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer  # type: ignore[import-not-found]

    from tbrm_bench.models.resolve import resolve_model
    from tbrm_bench.prompts.render import load_tokenizer
    from tbrm_train.data.prompts import load_prompts, step_prompts
    from tbrm_train.recipes.rl_rules import load_rl_recipe

    torch.set_num_threads(options.threads)
    settings = json.loads(job.read_text(encoding="utf-8"))
    recipe = load_rl_recipe(RECIPE, settings["words"])
    model = resolve_model(recipe.model)
    tokenizer = load_tokenizer(model.path)
    prompts = load_prompts(recipe, tokenizer, model.context_length).train
    chosen = [
        prompts[place].prompt
        for step in range(options.steps)
        for place, _ in step_prompts(prompts, seed=SEED, step=step, count=options.prompts)
    ]
    texts = [tokenizer.decode(prompt.token_ids) for prompt in chosen]
    assert [tuple(ids) for ids in tokenizer(texts)["input_ids"]] == [tuple(prompt.token_ids) for prompt in chosen]
    counted = {"tokens": 0}

    def reward(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        counted["tokens"] = sum(map(len, completion_ids))
        return [float("boxed" in text and index % 2 == 0) for index, text in enumerate(completions)]

    class Timer(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            line = {"step": state.global_step, "seconds": time.perf_counter() - self.started}
            line |= {"seconds/rollout": spent.pop("rollout", 0.0), "tokens/generated": counted["tokens"]}
            with Path(settings["steps"]).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")

    config = GRPOConfig(
        output_dir=str(job.parent / "trl"),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=options.micro,
        gradient_accumulation_steps=options.prompts * options.samples // options.micro,
        num_generations=options.samples,
        max_completion_length=options.tokens,
        max_steps=options.steps,
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        gradient_checkpointing=False,
        beta=0.0,
        loss_type="grpo",
        temperature=1.0,
        max_grad_norm=1.0,
        shuffle_dataset=False,
        save_strategy="no",
        report_to=[],
        logging_steps=1,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        use_transformers_continuous_batching=options.continuous,
    )
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32),
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": text} for text in texts]),
        processing_class=tokenizer,
        callbacks=[Timer()],
    )
    spent: dict[str, float] = {}
    generate = trainer._generate_and_score_completions

    def timed(*words: Any, **named: Any) -> Any:
        started = time.perf_counter()
        found = generate(*words, **named)
        spent["rollout"] = spent.get("rollout", 0.0) + time.perf_counter() - started
        return found

    trainer._generate_and_score_completions = timed
    trainer.train()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl", default="", help="folder with TRL, if it is not installed")
    parser.add_argument("--size", choices=["tiny", *SIZES], default="tiny")
    parser.add_argument("--contenders", default="vllm,hf,trl")
    parser.add_argument("--prompts", type=int, default=16, help="prompts a step")
    parser.add_argument("--samples", type=int, default=8, help="samples a prompt")
    parser.add_argument("--tokens", type=int, default=96, help="cap on new tokens")
    parser.add_argument("--micro", type=int, default=32, help="trajectories in a micro-batch")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--continuous", action="store_true", help="TRL samples by transformers' continuous batching")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
