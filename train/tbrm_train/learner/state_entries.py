"""What the state of a module is, and how it is cast: parameters to the training's dtype, buffers not at all.

    dict(state_entries(model))  ->  {"model.layers.0.mlp.up_proj.weight": ..., "model.layers.0.layer_scalar": ...}

A checkpoint holds parameters and persistent buffers, such as the scale of a layer or the bias of a router. Buffers are
constants in a dtype that the class chose: a rotary frequency rounded to bfloat16 rotates token 2,000 by another angle.
Every module is cast by this rule, so that equal weights give equal results.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def state_entries(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and persistent buffers by name, each once, under the first of its names."""
    seen: set[int] = set()
    for name, entry in module.state_dict(keep_vars=True).items():
        if id(entry) not in seen:
            seen.add(id(entry))
            yield name, entry


def cast_parameters(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the parameters, as DeepSpeed does, and nothing else."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)


@contextlib.contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """Restore dtype and values of the buffers that the block casts: DeepSpeed before 0.19 casts all of them."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers(remove_duplicate=False)}
    yield
    for name, buffer in module.named_buffers(remove_duplicate=False):
        if name in before and buffer.dtype != before[name].dtype:
            buffer.data = before[name].to(buffer.device)
