"""Unsharded checkpoints: pickled and safetensors files as transformers and trainers leave them.

    pytorch_model-00001-of-00003.bin ... pytorch_model.bin.index.json  config.json  tokenizer.json

Trainers wrap models, and the wrappers leave their names in the keys: `module.` (DDP), `_orig_mod.` (torch.compile),
`_fsdp_wrapped_module.` (FSDP1); TRL's models with a value head have `pretrained_model.` and `v_head.`.
"""

from collections.abc import Callable

import torch
from checkpoints.common import main, save_huggingface, save_reference, save_source, tiny_qwen2
from checkpoints.variants import Place, PlainVariant
from huggingface_hub import save_torch_state_dict

State = dict[str, torch.Tensor]


def value_head(state: State) -> State:
    head = {"v_head.summary.weight": torch.ones(1, 50), "v_head.summary.bias": torch.zeros(1)}
    return {f"pretrained_model.{name}": tensor for name, tensor in state.items()} | head


KEYS: dict[str, Callable[[State], State]] = {
    "plain": dict,
    "ddp_compiled": lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
    "fsdp_wrapped": lambda state: {
        "_fsdp_wrapped_module." + name.replace("layers.1.", "layers.1._fsdp_wrapped_module."): tensor
        for name, tensor in state.items()
    },
    "value_head": value_head,
}


def write(variant: PlainVariant, place: Place, rank: int) -> None:
    """Save the tiny model under the keys of its trainer."""
    model = tiny_qwen2(dtype=variant.dtype, tied=variant.tied)
    save_source(model, place.source)
    save_huggingface(model, place.checkpoint)
    state = KEYS[variant.kind](dict(model.state_dict()))
    if variant.safetensors:
        save_torch_state_dict(state, place.checkpoint, max_shard_size=variant.shard_size)
    else:
        save_torch_state_dict(state, place.checkpoint, safe_serialization=False, max_shard_size=variant.shard_size)
    save_reference(model.state_dict(), place.reference)


if __name__ == "__main__":
    main("plain", write)
