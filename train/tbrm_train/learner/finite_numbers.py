"""Checks that gradients and weights are finite: a NaN or infinity in any process stops the training.

    alarm = Alarm(module.named_parameters())       # before DeepSpeed takes them over
    engine.backward(loss)
    alarm.take()                                   # [], or names: ["model.layers.0.mlp.up_proj.weight"]

A loss may be finite while its gradient is not: sqrt(x) at x = 0, the norm of a row of zeros. Each gradient is checked
in an autograd hook, the same at every ZeRO stage, by its sum: that is not finite if any element is not. Nothing waits
for the GPU before `take`.
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor


class NotFiniteError(Exception):
    """Raised after the gradient norm and before the AdamW step; no weight has changed."""


class Alarm:
    """Records which parameters received a gradient that is not finite."""

    def __init__(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        """Watch the named parameters from now on."""
        self._found: dict[str, Tensor] = {}
        for name, parameter in parameters:
            parameter.register_hook(partial(self._look, name))  # type: ignore[no-untyped-call]

    def _look(self, name: str, gradient: Tensor) -> None:
        found = _nothing_or_nan(gradient)
        self._found[name] = self._found[name] + found if name in self._found else found

    def take(self) -> list[str]:
        """Return the parameters whose gradients since the last call were not all finite, the last layer first."""
        found, self._found = self._found, {}
        sums = torch.stack(list(found.values())).tolist() if found else []
        return [name for name, total in zip(found, sums, strict=True) if math.isnan(total)]


def is_finite(tensor: Tensor) -> bool:
    """Return whether all elements of a tensor, and their sum in float32, are finite."""
    return not math.isnan(float(_nothing_or_nan(tensor)))


def norm_of(norm: Any) -> float:
    """Return DeepSpeed's norm as a float; some versions return -1 if it is not finite."""
    return float(norm) if float(norm) >= 0 else math.nan


def _nothing_or_nan(tensor: Tensor) -> Tensor:
    # 0 times a finite sum is 0, times infinity or NaN it is NaN. This allocates no mask of the tensor's size.
    return tensor.detach().sum(dtype=torch.float32) * 0.0
