"""A checkpoint of two ranks in verl's layout whose size grows with its layers, for measuring memory.

    python -m checkpoints.large OUT 24          layers of 11.5 million parameters, bf16

A fake process group gives the mesh its ranks, so that one process writes one rank's file after the other's.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from checkpoints.common import save_huggingface
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import Qwen2Config, Qwen2ForCausalLM

RANKS = 2


def write(folder: Path, num_layers: int) -> None:
    """Write both ranks' files and the config."""
    config = Qwen2Config(
        vocab_size=8000,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=num_layers,
        num_attention_heads=16,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        dtype=torch.bfloat16,
        architectures=["Qwen2ForCausalLM"],
    )
    with torch.device("meta"):
        model = Qwen2ForCausalLM(config)
    folder.mkdir(parents=True)
    save_huggingface(model, folder / "huggingface")
    for rank in range(RANKS):
        dist.init_process_group("fake", rank=rank, world_size=RANKS, store=FakeStore())
        mesh = init_device_mesh("cpu", (RANKS,), mesh_dim_names=("fsdp",))
        state = {}
        for name, parameter in model.named_parameters():
            local = torch.rand((parameter.shape[0] // RANKS, *parameter.shape[1:]), dtype=torch.bfloat16)
            state[name] = DTensor.from_local(local, mesh, [Shard(0)])
        torch.save(state, folder / f"model_world_size_{RANKS}_rank_{rank}.pt")
        dist.destroy_process_group()


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
