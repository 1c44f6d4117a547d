"""LoRA adapters by PEFT: folders, and adapters that were sharded together with their base by FSDP2.

    adapter_config.json  adapter_model.safetensors                   a PEFT folder
    model_world_size_2_rank_0.pt  lora_train_meta.json  huggingface/ verl: `base_layer` and `lora_A` in the same shards

The reference is `merge_and_unload()` of PEFT itself (https://github.com/huggingface/peft).
"""

import json
import zlib
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from checkpoints.common import (
    main,
    randomize,
    rank0_writes,
    save_huggingface,
    save_reference,
    save_source,
    tiny_qwen2,
)
from checkpoints.fsdp import fully_shard_layers, save_shard
from checkpoints.variants import LoraVariant, Place
from peft import LoraConfig, PeftModel, get_peft_model
from torch.distributed.device_mesh import init_device_mesh
from transformers import GPT2Config, GPT2LMHeadModel

ATTENTION = ["q_proj", "v_proj"]


def write(variant: LoraVariant, place: Place, rank: int) -> None:
    """Adapt the tiny model with random adapters and save it as its framework does."""
    base = base_model(variant)
    with rank0_writes(rank) as mine:
        if mine:
            place.checkpoint.mkdir(parents=True)
            save_source(base, place.source)
    model = adapted(variant, place.source)
    if variant.meta is None and variant.kind != "lora_shards_no_meta":
        if rank == 0:
            model.save_pretrained(place.checkpoint)
    else:
        write_shards(model, variant, place.checkpoint, rank)
        model = adapted(variant, place.source)
    if rank == 0:
        save_reference(model.merge_and_unload().state_dict(), place.reference)
    dist.barrier()


def base_model(variant: LoraVariant) -> Any:
    if variant.base == "qwen2":
        return tiny_qwen2(dtype=variant.dtype, tied=variant.tied)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=503, n_embd=40, n_layer=2, n_head=4, n_positions=32))
    randomize(model)
    return model


def adapted(variant: LoraVariant, source: Path) -> PeftModel:
    """Return the base with random adapters; PEFT writes the base's folder into the adapter's config."""
    base = base_model(variant)
    base.name_or_path = base.config._name_or_path = str(source)
    model = get_peft_model(base, LoraConfig(**variant.options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def write_shards(model: PeftModel, variant: LoraVariant, folder: Path, rank: int) -> None:
    """Shard base and adapter together and write verl's layout."""
    if rank == 0:
        save_huggingface(model.get_base_model(), folder / "huggingface")
        (folder / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": variant.world_size}))
        if variant.meta is not None:
            (folder / "lora_train_meta.json").write_text(json.dumps(variant.meta))
    mesh = init_device_mesh("cpu", (variant.world_size,), mesh_dim_names=("fsdp",))
    fully_shard_layers(model.get_base_model(), mesh)
    save_shard(model.state_dict(), folder, rank, variant.world_size)


if __name__ == "__main__":
    main("lora", write)
