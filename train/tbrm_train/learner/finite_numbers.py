"""Whether gradients and weights are numbers: a NaN or an infinity among them, in whatever process, stops a training.

    alarm = Alarm(module.named_parameters())       # before DeepSpeed takes them over
    engine.backward(loss)
    alarm.take()                                   # [], or the names: ["model.layers.0.mlp.up_proj.weight"]

A loss may be finite while its gradient is not: sqrt(x) at x = 0, a norm over a row of zeros. Each gradient is looked at
where autograd hands it over, which is the same at every ZeRO stage, and its sum is enough: it is not finite if any of
its numbers is not. Nothing waits for a GPU before `take`.
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor


class NotFiniteError(Exception):
    """Raised between the norm of the gradients and the step of AdamW; nothing has moved."""


class Alarm:
    """Remembers which parameters got a gradient that is not finite."""

    def __init__(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        """Watch the parameters, given with their names, from now on."""
        self._found: dict[str, Tensor] = {}
        for name, parameter in parameters:
            parameter.register_hook(partial(self._look, name))  # type: ignore[no-untyped-call]

    def _look(self, name: str, gradient: Tensor) -> None:
        found = _nothing_or_nan(gradient)
        self._found[name] = self._found[name] + found if name in self._found else found

    def take(self) -> list[str]:
        """Return the names of those whose gradients since the last call were not all finite, the last layer first."""
        found, self._found = self._found, {}
        sums = torch.stack(list(found.values())).tolist() if found else []
        return [name for name, total in zip(found, sums, strict=True) if math.isnan(total)]


def is_finite(tensor: Tensor) -> bool:
    """Return whether all numbers of a tensor, and their sum in float32, are finite."""
    return not math.isnan(float(_nothing_or_nan(tensor)))


def norm_of(norm: Any) -> float:
    """Return DeepSpeed's norm as a number; -1 is what some versions make of one that is not finite."""
    return float(norm) if float(norm) >= 0 else math.nan


def _nothing_or_nan(tensor: Tensor) -> Tensor:
    # 0 times anything finite is 0, times an infinity or NaN it is NaN. No mask of the tensor's size is made.
    return tensor.detach().sum(dtype=torch.float32) * 0.0
