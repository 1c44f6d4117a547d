"""What the scripts beside this file share: tiny models, their references, and ranks that are forked, not launched.

    python -m checkpoints.fsdp OUT fsdp2-w4-fp32-tied ...       # in the folder above

Every checkpoint lies in a folder of its own:

    OUT/fsdp2-w4-fp32-tied/source/                 the model before training, as transformers saves it
                          /checkpoint/             what the library wrote, nothing else
                          /reference.safetensors   the full state dict, gathered by the same library

Importing torch and transformers costs seconds, so ranks are forked from one process that has them, with the variables
that torchrun sets; several checkpoints of one world size share their ranks.
"""

import itertools
import multiprocessing
import os
import shutil
import socket
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from checkpoints.variants import Place, Variant, named
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from tbrm_bench.resources import builtin_model_dir

# "uneven": 1003 rows, 50 columns and 33 rows are cut unevenly by 2 and 4; the 6 rows of k_proj leave rank 3 of 4 empty.
SHAPES: dict[str, dict[str, int]] = {
    "even": {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 16},
    "uneven": {"vocab_size": 1003, "hidden_size": 50, "intermediate_size": 33, "num_attention_heads": 5,
               "num_key_value_heads": 1, "head_dim": 6},
}  # fmt: skip
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def tiny_qwen2(*, dtype: str, tied: bool, shape: str = "uneven") -> Qwen2ForCausalLM:
    """Return two layers of Qwen2; every element of every tensor is random, so that no two pieces can be swapped."""
    config = Qwen2Config(
        **SHAPES[shape],
        num_hidden_layers=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        dtype=DTYPES[dtype],
        architectures=["Qwen2ForCausalLM"],
        bos_token_id=None,
        eos_token_id=2,
    )
    model = Qwen2ForCausalLM(config).to(DTYPES[dtype])
    randomize(model)
    return model


def randomize(model: torch.nn.Module) -> None:
    """Fill parameters by their names: the same model in every process."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            values = torch.randn(parameter.shape, generator=generator) * 0.1
            parameter.copy_(values + 1 if "norm" in name else values)


def save_source(model: Any, folder: Path) -> None:
    """Write the model as transformers does, with a tokenizer beside it."""
    model.save_pretrained(folder)
    copy_tokenizer(folder)


def save_huggingface(model: Any, folder: Path) -> None:
    """Write what verl puts into `huggingface/`: config, generation config, tokenizer, no weights."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    copy_tokenizer(folder)


def copy_tokenizer(folder: Path) -> None:
    for name in TOKENIZER_FILES:
        shutil.copyfile(builtin_model_dir("tiny") / name, folder / name)


def save_reference(state: Mapping[str, torch.Tensor], file: Path) -> None:
    """Write every tensor on its own, tied ones twice."""
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, file)


def assert_same(gathered: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Guard against a reference that is wrong itself: sharding and gathering must give back the model."""
    assert gathered.keys() == expected.keys(), gathered.keys() ^ expected.keys()
    for name, tensor in gathered.items():
        assert tensor.dtype == expected[name].dtype, (name, tensor.dtype)
        assert torch.equal(tensor, expected[name]), name


def run_ranks(world_size: int, work: Callable[[int], None]) -> None:
    """Run work(rank) in `world_size` forked processes that share a gloo group; SystemExit if one fails."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_rank, args=(rank, world_size, port, work)) for rank in range(world_size)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    if any(process.exitcode for process in ranks):
        sys.exit(f"ranks ended with {[process.exitcode for process in ranks]}")


def _rank(rank: int, world_size: int, port: int, work: Callable[[int], None]) -> None:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
    os.environ.update({name: str(value) for name, value in names.items()})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo")
        work(rank)
        dist.barrier()
        dist.destroy_process_group()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - whatever it is, it is shown and this process ends
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # the other ranks may wait for this one; their collectives fail when it is gone
    os._exit(0)


def main(script: str, write: Callable[[Any, Place, int], None], setup: Callable[[], object] = int) -> None:
    """Write the checkpoints that the command line names; those of one world size come from the same ranks."""
    out, names = Path(sys.argv[1]), sys.argv[2:]
    variants = named(script)
    chosen = sorted((variants[name] for name in names), key=lambda variant: variant.world_size)
    for world_size, group in itertools.groupby(chosen, key=lambda variant: variant.world_size):
        members = list(group)

        def work(rank: int, members: list[Variant] = members) -> None:
            setup()
            for variant in members:
                write(variant, Place(out / variant.name), rank)

        run_ranks(world_size, work)


@contextmanager
def rank0_writes(rank: int) -> Iterator[bool]:
    """Give True on rank 0 and let the others wait until it is done."""
    yield rank == 0
    dist.barrier()
