"""Merging side by side: seconds and peak memory of this merge, verl's, DeepSpeed's converter and a plain copy.

    python benchmarks/merge_speed.py --size tiny                                  # everything small: does it run?
    python benchmarks/merge_speed.py --size 1.5b --verl /path/to/venv/bin/python  # 3.1 GB in bf16, 4 ranks
    python benchmarks/merge_speed.py --size 1.5b --dtype float32 --verl ...         # 6.2 GB, merged to bf16

The FSDP checkpoint has Qwen2.5-1.5B's names and shapes, random weights and verl's layout: DTensors over a mesh of 4,
each rank file written by torch in a process of its own. ZeRO-2 and ZeRO-3 checkpoints of 2 ranks are saved by DeepSpeed
from a smaller shape. Every contender runs in its own process, `--repeats` times in rotating order, each on the same
page state: the input read (a warm page cache), as many bytes as the input written and deleted (those pages are taken
next; memory that a virtual machine has not touched for a while is slower), the disk synced. The best time counts.
Memory is the peak of resident pages, mapped files included, summed over the process and its children. The copy has the
input's bytes, with and without fsync.
Ours syncs its files before it renames them. "ours" asks transformers for the model class's names and shapes while it
writes, in a process that imports torch; "ours again" finds the answer in its cache, as every later merge does.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"vocab_size": 5003, "hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 4,
             "num_attention_heads": 4, "num_key_value_heads": 2},
    "0.3b": {"vocab_size": 151936, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 22,
             "num_attention_heads": 12, "num_key_value_heads": 2},
    "1.5b": {"vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
             "num_attention_heads": 12, "num_key_value_heads": 2},
}  # fmt: skip
ZERO_SHAPE = {"tiny": "tiny", "1.5b": "0.3b"}
RANKS = 4
OURS = """
import os, shutil, sys
from pathlib import Path
source, output, dtype, cache, first = sys.argv[1:]
if first == "first":
    shutil.rmtree(cache, ignore_errors=True)
os.environ["TBENCH_CACHE"] = cache
from tbrm_bench.merge import merge
merge(Path(source), Path(output), dtype=dtype)
"""
COPY = """
import os, shutil, sys
from pathlib import Path
for file in Path(sys.argv[1]).rglob("*"):
    if file.is_file():
        target = Path(sys.argv[2]) / file.relative_to(sys.argv[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        if sys.argv[3] == "fsync":
            with target.open("rb") as stream:
                os.fsync(stream.fileno())
"""


class Cost(NamedTuple):
    """What one process took: wall-clock seconds and the peak of its tree's resident memory, 1e9 bytes."""

    seconds: float
    gigabytes: float


def model_config(shape: str) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(
        **SHAPES[shape], tie_word_embeddings=True, dtype="bfloat16", architectures=["Qwen2ForCausalLM"], eos_token_id=2
    )


def write_rank(shape: str, dtype: str, folder: Path, rank: int) -> None:
    """Write one rank's file; the fake process group gives the mesh its ranks, and no other process is needed."""
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard
    from torch.testing._internal.distributed.fake_pg import FakeStore
    from transformers import AutoModelForCausalLM

    dist.init_process_group("fake", rank=rank, world_size=RANKS, store=FakeStore())
    mesh = init_device_mesh("cpu", (RANKS,), mesh_dim_names=("fsdp",))
    with torch.device("meta"):
        parameters = dict(AutoModelForCausalLM.from_config(model_config(shape)).named_parameters())
    generator = torch.Generator().manual_seed(rank)
    state = {}
    for name, parameter in parameters.items():
        rows = -(-parameter.shape[0] // RANKS)
        mine = min(rows, max(0, parameter.shape[0] - rank * rows))
        local = torch.empty((mine, *parameter.shape[1:]), dtype=getattr(torch, dtype)).normal_(
            0, 0.02, generator=generator
        )
        state[name] = DTensor.from_local(local, mesh, [Shard(0)], shape=parameter.shape, stride=parameter.stride())
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    torch.save(state, folder / f"model_world_size_{RANKS}_rank_{rank}.pt")
    dist.destroy_process_group()


def write_home(shape: str, folder: Path) -> None:
    """Write config and tokenizer."""
    from tbrm_bench.resources import builtin_model_dir

    folder.mkdir(parents=True)
    model_config(shape).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(builtin_model_dir("tiny") / name, folder / name)


def write_fsdp(shape: str, dtype: str, folder: Path) -> None:
    """Write a checkpoint in verl's layout, one rank after the other."""
    write_home(shape, folder / "huggingface")
    (folder / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": RANKS}))
    for rank in range(RANKS):
        run_self("--write-rank", shape, dtype, str(folder), str(rank))


def write_zero(stage: int, shape: str, folder: Path) -> None:
    """Let DeepSpeed save two ranks' state of a random bf16 model."""
    write_home(shape, folder)
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    arguments = ["--write-zero", str(stage), shape, str(folder)]
    subprocess.run([*command, *arguments], env=environment, check=True, capture_output=True)


def save_zero(stage: int, shape: str, folder: str) -> None:
    """Run in each of the ranks that write_zero() starts."""
    import deepspeed
    import torch
    from transformers import AutoModelForCausalLM

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # nothing to compile
    deepspeed.init_distributed("gloo")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(model_config(shape))
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "zero_allow_untested_optimizer": True,
            "bf16": {"enabled": True},
            "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0},
        },
    )
    engine.save_checkpoint(folder)


def run_self(*arguments: str) -> None:
    subprocess.run([sys.executable, __file__, *arguments], check=True, env=os.environ | {"OMP_NUM_THREADS": "2"})


def measure(command: Sequence[str], log: Path) -> Cost | str:
    """Run a command; return what it took, or its last line if it fails."""
    os.sync()
    started, peak = time.perf_counter(), 0.0
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, sum(resident(pid) for pid in tree(process.pid)))
            time.sleep(0.02)
    seconds = time.perf_counter() - started
    if process.returncode:
        lines = log.read_text(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
        return f"failed: {lines[-1]}"
    return Cost(seconds, peak)


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from tree(int(child))


def resident(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def best(costs: Sequence[Cost | str]) -> Cost | str:
    failures = [cost for cost in costs if isinstance(cost, str)]
    if failures:
        return failures[0]
    numbers = [cost for cost in costs if isinstance(cost, Cost)]
    return Cost(min(cost.seconds for cost in numbers), max(cost.gigabytes for cost in numbers))


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def prime(source: Path, scratch: Path) -> None:
    """Bring memory and disk to the state in which every contender starts."""
    shutil.copytree(source, scratch)
    os.sync()
    shutil.rmtree(scratch)
    os.sync()


def race(source: Path, scratch: Path, commands: dict[str, list[str]], repeats: int) -> dict[str, Cost | str]:
    """Run all contenders in turn, `repeats` times; each writes to scratch/<its name>."""
    costs: dict[str, list[Cost | str]] = {name: [] for name in commands}
    names = list(commands)
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            shutil.rmtree(scratch / name, ignore_errors=True)
            prime(source, scratch / "prime")
            costs[name].append(measure(commands[name], scratch / f"{name}.log"))
            if name.startswith("copy") or turn < repeats - 1:
                shutil.rmtree(scratch / name, ignore_errors=True)
    return {name: best(found) for name, found in costs.items()}


def show(title: str, source: Path, costs: dict[str, Cost | str]) -> None:
    """Print a table: seconds, peak memory, and how many times the seconds of ours."""
    print(f"\n{title}: {size(source) / 1e9:.2f} GB")
    ours = costs["ours"]
    for name, cost in costs.items():
        if isinstance(cost, str):
            print(f"  {name:<24} {cost}")
            continue
        ratio = f"{cost.seconds / ours.seconds:6.2f}x" if isinstance(ours, Cost) else ""
        print(f"  {name:<24} {cost.seconds:7.2f} s  {cost.gigabytes:6.2f} GB  {ratio}")


def same_weights(first: Path, second: Path) -> str:
    """Say whether two model folders hold the same names, dtypes, shapes and bytes."""
    from tbrm_bench.errors import UserError
    from tbrm_bench.weights import weights_fingerprint

    try:
        return "bit-equal" if weights_fingerprint(first) == weights_fingerprint(second) else "DIFFERENT"
    except UserError as error:
        return f"not compared: {error}"


def ours(source: Path, folder: Path, dtype: str) -> dict[str, list[str]]:
    """Return the command of a first merge, and of a later one, which knows what the model's class expects."""
    command = [sys.executable, "-c", OURS, str(source)]
    return {
        name: [*command, str(folder / name), dtype, str(folder / f"{name}.cache"), name.partition(" ")[2] or "first"]
        for name in ("ours", "ours again")
    }


def race_fsdp(shape: str, dtype: str, verl: str | None, folder: Path, repeats: int) -> None:
    source = folder / "fsdp" / "actor"
    write_fsdp(shape, dtype, source)
    commands = {
        **ours(source, folder, "bfloat16"),
        "copy": [sys.executable, "-c", COPY, str(source), str(folder / "copy"), "no"],
        "copy+fsync": [sys.executable, "-c", COPY, str(source), str(folder / "copy+fsync"), "fsync"],
    }
    if verl:
        merger = [verl, "-m", "verl.model_merger", "merge", "--backend", "fsdp"]
        commands["verl"] = [*merger, "--local_dir", str(source), "--target_dir", str(folder / "verl")]
    costs = race(source, folder, commands, repeats)
    show(f"FSDP2, {RANKS} ranks, {shape}, {dtype} -> bfloat16", source, costs)
    if verl and isinstance(costs["verl"], Cost):
        print(f"  the weights of ours and verl's: {same_weights(folder / 'ours', folder / 'verl')}")
    for name in ("fsdp", "ours", "ours again", "verl"):
        shutil.rmtree(folder / name, ignore_errors=True)


def race_zero(stage: int, shape: str, folder: Path, repeats: int) -> None:
    source = folder / f"zero{stage}"
    write_zero(stage, shape, source)
    converter = [sys.executable, str(source / "zero_to_fp32.py"), str(source)]
    commands = {
        **ours(source, folder, "float32"),
        "zero_to_fp32": [*converter, str(folder / "zero_to_fp32")],
        "copy": [sys.executable, "-c", COPY, str(source), str(folder / "copy"), "no"],
    }
    show(f"ZeRO-{stage}, 2 ranks, {shape}, bf16 -> float32", source, race(source, folder, commands, repeats))
    for name in (source.name, "ours", "ours again", "zero_to_fp32"):
        shutil.rmtree(folder / name, ignore_errors=True)


def main() -> None:
    if sys.argv[1:2] == ["--write-rank"]:
        return write_rank(sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))
    if sys.argv[1:2] == ["--write-zero"]:
        return save_zero(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=sorted(ZERO_SHAPE), default="tiny")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="of the FSDP shards")
    parser.add_argument("--verl", help="the python of an environment with verl; without it verl is left out")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--zero", action=argparse.BooleanOptionalAction, default=True, help="race DeepSpeed as well")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="merge-speed-", dir=options.folder) as name:
        folder = Path(name)
        needed, free = 6 * 1.6e9 * (4 if options.dtype == "float32" else 2), shutil.disk_usage(folder).free
        if options.size != "tiny" and free < needed:
            sys.exit(f"{folder} has {free / 1e9:.0f} GB free, needed are {needed / 1e9:.0f}; choose another --folder")
        race_fsdp(options.size, options.dtype, options.verl, folder, options.repeats)
        for stage in (2, 3) if options.zero else ():
            race_zero(stage, ZERO_SHAPE[options.size], folder, options.repeats)
    return None


if __name__ == "__main__":
    main()
