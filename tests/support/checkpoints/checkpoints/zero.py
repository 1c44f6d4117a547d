"""DeepSpeed's checkpoints: ZeRO stages 0 to 3 after one step of training, and their universal form.

    latest  global_step1/mp_rank_00_model_states.pt  global_step1/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt

The reference holds the weights that DeepSpeed itself gathers: the 32-bit masters by its converter
(https://github.com/deepspeedai/DeepSpeed, deepspeed/utils/zero_to_fp32.py), under stage 0 the module's own.
"""

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before the import, which looks for it

import deepspeed
import deepspeed.ops
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
from checkpoints.variants import Place, ZeroVariant
from deepspeed.checkpoint.ds_to_universal import main as to_universal
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # nothing to compile: collectives go through gloo


def write(variant: ZeroVariant, place: Place, rank: int) -> None:
    """Train one step, let DeepSpeed save, and let it gather what it saved."""
    model = tiny_qwen2(dtype=variant.dtype, tied=variant.tied, shape=variant.shape)
    if variant.frozen:
        model.model.embed_tokens.weight.requires_grad_(False)
    with rank0_writes(rank) as mine:
        if mine:
            place.checkpoint.mkdir(parents=True)
            save_source(model, place.source)
            if not variant.universal:
                save_huggingface(model, place.checkpoint)  # where transformers' Trainer puts it
    engine = train_one_step(model, variant)
    saved = place.folder / "saved" if variant.universal else place.checkpoint
    engine.save_checkpoint(str(saved))
    gathered = gather(engine, variant.stage)
    dist.barrier()
    if rank == 0:
        if variant.universal:
            make_universal(saved, place.checkpoint)
        full = gathered
        if variant.stage:
            full = gathered | masters(saved)  # under stage 1 the converter forgets what is frozen
            assert_same({name: full[name].to(tensor.dtype) for name, tensor in gathered.items()}, gathered)
        save_reference(full, place.reference)
    engine.destroy()
    dist.barrier()


def train_one_step(model: Any, variant: ZeroVariant) -> Any:
    """Return the engine after one step on random tokens, so that masters and 16-bit weights differ."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    chunks = [{"params": parameters[start :: variant.groups]} for start in range(variant.groups)]
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.AdamW(chunks, lr=1e-3),
        config={
            "train_batch_size": 2 * variant.world_size,
            "train_micro_batch_size_per_gpu": 2,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 1_000_000_000,
            "bf16": {"enabled": variant.dtype == "bf16"},
            "zero_optimization": {
                "stage": variant.stage,
                "stage3_param_persistence_threshold": 0,
                "sub_group_size": variant.sub_group_size,
            },
        },
    )
    tokens = torch.randint(3, 200, (2, 16), generator=torch.Generator().manual_seed(dist.get_rank()))
    engine.backward(engine(input_ids=tokens, labels=tokens).loss)
    engine.step()
    return engine


def gather(engine: Any, stage: int) -> dict[str, torch.Tensor]:
    """Return the weights as the ranks compute with them; all ranks must call."""
    gathered = {}
    for name, parameter in engine.module.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter], enabled=stage == 3):
            gathered[name] = parameter.detach().clone().cpu()
    return gathered


def masters(folder: Path) -> dict[str, torch.Tensor]:
    """Return what DeepSpeed's own converter makes of the folder, in 32 bits."""
    return dict(get_fp32_state_dict_from_zero_checkpoint(str(folder)))


def make_universal(saved: Path, folder: Path) -> None:
    """Let DeepSpeed cut the checkpoint into one folder a parameter."""
    tag = (saved / "latest").read_text().strip()
    to_universal(
        Namespace(
            input_folder=str(saved / tag),
            output_folder=str(folder / f"{tag}_universal"),
            num_extract_workers=1,
            num_merge_workers=1,
            keep_temp_folder=False,
            strict=True,
            inject_missing_state=True,
        )
    )
    (folder / "latest").write_text(f"{tag}_universal")


if __name__ == "__main__":
    main("zero", write, lambda: deepspeed.init_distributed("gloo"))
