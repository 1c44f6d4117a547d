"""Checkpoints in verl's layout, sharded by torch: FSDP1, FSDP2, HSDP and tensor-parallel x FSDP meshes.

    fsdp_config.json  model_world_size_4_rank_0.pt ... model_world_size_4_rank_3.pt  huggingface/

The rank files are `torch.save` of the rank's sharded state dict, as verl's FSDPCheckpointManager writes them
(https://github.com/verl-project/verl, verl/utils/checkpoint/fsdp_checkpoint_manager.py).
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from checkpoints.common import (
    assert_same,
    main,
    rank0_writes,
    save_huggingface,
    save_reference,
    save_source,
    tiny_qwen2,
)
from checkpoints.variants import FsdpVariant, Place
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    FullStateDictConfig,
    FullyShardedDataParallel,
    ShardedStateDictConfig,
    ShardingStrategy,
    StateDictType,
    fully_shard,
)
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import Shard
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer


def write(variant: FsdpVariant, place: Place, rank: int) -> None:
    """Shard the tiny model and write this rank's file; rank 0 writes the rest."""
    model = tiny_qwen2(dtype=variant.dtype, tied=variant.tied, shape=variant.shape)
    if variant.buffers:
        add_buffers(model)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with rank0_writes(rank) as mine:
        if mine:
            place.checkpoint.mkdir(parents=True)
            save_source(tiny_qwen2(dtype=variant.dtype, tied=variant.tied, shape=variant.shape), place.source)
            if variant.huggingface:
                save_huggingface(model, place.checkpoint / "huggingface")
            if variant.fsdp_config:
                about = {"FSDP_version": 1 if "fsdp1" in variant.kind or variant.kind == "hsdp1" else 2}
                text = json.dumps(about | {"world_size": variant.world_size}, indent=4)
                (place.checkpoint / "fsdp_config.json").write_text(text)
    sharded, full = shard(model, variant.kind, variant.world_size)
    save_shard(sharded, place.checkpoint, rank, variant.world_size)
    if rank == 0:
        assert_same(full, expected)
        save_reference(full, place.reference)
    dist.barrier()


def save_shard(state: dict[str, Any], folder: Path, rank: int, world_size: int) -> None:
    """Write a rank's model file, and the two files beside it that a merge must leave alone."""
    about = f"world_size_{world_size}_rank_{rank}.pt"
    torch.save(state, folder / f"model_{about}")
    torch.save({"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}, folder / f"optim_{about}")
    torch.save({"lr_scheduler": None, "rng": {"cpu": torch.get_rng_state()}}, folder / f"extra_state_{about}")


def add_buffers(model: Any) -> None:
    """Add buffers that no rank shards: one sorts before every parameter, one has no dimension, one is of integers."""
    model.register_buffer("a_buf", torch.arange(7, dtype=torch.float32) / 3)
    model.register_buffer("num_steps", torch.tensor(41, dtype=torch.int64))
    model.model.layers[0].register_buffer("scale", torch.tensor(0.25))


def shard(model: Any, kind: str, world_size: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the sharded state dict of this rank and the full one (empty but on rank 0)."""
    if kind in ("fsdp1", "fsdp1_sharded_tensor", "hsdp1"):
        return shard_fsdp1(model, kind, world_size)
    if kind == "tp_fsdp2":
        tensor_parallel(model, world_size)
    elif kind == "hsdp2":
        fully_shard_layers(model, init_device_mesh("cpu", (world_size // 2, 2), mesh_dim_names=("ddp", "fsdp")))
    else:
        mesh = init_device_mesh("cpu", (world_size,), mesh_dim_names=("fsdp",))
        fully_shard_layers(model, mesh, columns=kind == "fsdp2_columns")
    return model.state_dict(), gather(model)


def shard_fsdp1(model: Any, kind: str, world_size: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """With a device mesh the shards are DTensors, without one ShardedTensors, and on one rank plain tensors."""
    options: dict[str, Any] = {}
    if kind == "fsdp1":
        options["device_mesh"] = init_device_mesh("cpu", (world_size,), mesh_dim_names=("fsdp",))
    if kind == "hsdp1":
        options["device_mesh"] = init_device_mesh("cpu", (world_size // 2, 2), mesh_dim_names=("ddp", "fsdp"))
        options["sharding_strategy"] = ShardingStrategy.HYBRID_SHARD
    wrapped = wrap(model, use_orig_params=False, **options)
    full = gather_fsdp1(wrapped)
    with FullyShardedDataParallel.state_dict_type(
        wrapped, StateDictType.SHARDED_STATE_DICT, ShardedStateDictConfig(offload_to_cpu=True)
    ):
        return wrapped.state_dict(), full


def wrap(model: Any, **options: Any) -> FullyShardedDataParallel:
    """Wrap every layer and the root, as trainers do."""
    policy = partial(transformer_auto_wrap_policy, transformer_layer_cls={Qwen2DecoderLayer})
    return FullyShardedDataParallel(model, auto_wrap_policy=policy, device_id=torch.device("cpu"), **options)


def gather_fsdp1(wrapped: FullyShardedDataParallel) -> dict[str, torch.Tensor]:
    """Return the full state dict on every rank. Asked to offload to the CPU, torch fails where it already is."""
    with FullyShardedDataParallel.state_dict_type(wrapped, StateDictType.FULL_STATE_DICT, FullStateDictConfig()):
        return {name: tensor.clone() for name, tensor in wrapped.state_dict().items()}


def gather(model: Any) -> dict[str, torch.Tensor]:
    """Return the full state dict of a model of DTensors on rank 0."""
    full: Any = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return dict(full)


def fully_shard_layers(model: Any, mesh: Any, *, columns: bool = False) -> None:
    """Shard the layers and the root; `columns` cuts every matrix along its second dimension."""
    options: dict[str, Any] = {"mesh": mesh}
    if columns:
        options["shard_placement_fn"] = lambda parameter: Shard(parameter.ndim - 1)
    for layer in model.model.layers:
        fully_shard(layer, **options)
    fully_shard(model, **options)


def tensor_parallel(model: Any, world_size: int) -> None:
    """Split attention and MLP over 2 tensor-parallel ranks, then everything over the remaining ones."""
    mesh = init_device_mesh("cpu", (world_size // 2, 2), mesh_dim_names=("fsdp", "tp"))
    column, row = ColwiseParallel(), RowwiseParallel()
    plan: dict[str, ParallelStyle] = {f"self_attn.{name}_proj": column for name in "qkv"} | {"self_attn.o_proj": row}
    plan |= {"mlp.gate_proj": column, "mlp.up_proj": column, "mlp.down_proj": row}
    for layer in model.model.layers:
        parallelize_module(layer, mesh["tp"], plan)
    fully_shard_layers(model, mesh["fsdp"])


if __name__ == "__main__":
    main("fsdp", write)
