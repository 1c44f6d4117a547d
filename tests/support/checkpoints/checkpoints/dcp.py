"""Distributed checkpoints of torch, and accelerate's sharded state dicts, which are such checkpoints too.

.metadata  __0_0.distcp  __1_0.distcp                         torch.distributed.checkpoint.save
pytorch_model_fsdp_0/.metadata  optimizer_0/.metadata  ...    accelerate, FSDP SHARDED_STATE_DICT
"""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import save_fsdp_model, save_fsdp_optimizer
from checkpoints.common import (
    assert_same,
    main,
    rank0_writes,
    save_huggingface,
    save_reference,
    save_source,
    tiny_qwen2,
)
from checkpoints.fsdp import fully_shard_layers, gather, gather_fsdp1, wrap
from checkpoints.variants import DcpVariant, Place
from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh


def write(variant: DcpVariant, place: Place, rank: int) -> None:
    """Shard the tiny model and let the library save it; rank 0 writes the rest."""
    model = tiny_qwen2(dtype=variant.dtype, tied=variant.tied, shape=variant.shape)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with rank0_writes(rank) as mine:
        if mine:
            place.checkpoint.mkdir(parents=True)
            save_source(model, place.source)
            if variant.kind != "dcp_flat":
                save_huggingface(model, place.checkpoint)
    save_it = save_by_accelerate if variant.kind.startswith("accelerate") else save_by_torch
    full = save_it(model, variant, place.checkpoint)
    if rank == 0:
        assert_same(full, expected)
        save_reference(full, place.reference)
    dist.barrier()


def save_by_torch(model: Any, variant: DcpVariant, folder: Path) -> dict[str, torch.Tensor]:
    """Save model and optimizer under two top keys, or the model's keys alone; return the full state dict."""
    if variant.kind != "dcp_plain":
        fully_shard_layers(model, init_device_mesh("cpu", (variant.world_size,), mesh_dim_names=("fsdp",)))
    full = gather(model)
    state: dict[str, Any] = get_model_state_dict(model)
    if variant.kind == "dcp_nested":
        optimizer = torch.optim.AdamW(model.parameters())
        state = {"model": state, "optimizer": get_optimizer_state_dict(model, optimizer), "step": 3}
    save(state, checkpoint_id=folder)
    return full


def save_by_accelerate(model: Any, variant: DcpVariant, folder: Path) -> dict[str, torch.Tensor]:
    """Save as `Accelerator.save_state` does with `fsdp_state_dict_type: SHARDED_STATE_DICT`.

    accelerate shards models only on GPUs; here torch does it and accelerate saves.
    """
    version = int(variant.kind[-1])
    plugin = FullyShardedDataParallelPlugin(fsdp_version=version, state_dict_type="SHARDED_STATE_DICT")
    accelerator = Accelerator(cpu=True)
    if version == 1:
        model = wrap(model, use_orig_params=True)
    else:
        fully_shard_layers(model, init_device_mesh("cpu", (variant.world_size,)))
    save_fsdp_model(plugin, accelerator, model, str(folder))
    save_fsdp_optimizer(plugin, accelerator, torch.optim.AdamW(model.parameters()), model, str(folder))
    if version == 1:
        return gather_fsdp1(model)
    return gather(model)


if __name__ == "__main__":
    main("dcp", write)
