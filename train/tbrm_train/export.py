"""The policy's weights as a Hugging Face folder: what engines load and `tbench eval` takes."""

from pathlib import Path
from typing import Any

import torch

from tbrm_train.learner import Learner


def write_model(learner: Learner, tokenizer: Any, folder: Path, *, is_first: bool) -> None:
    """Write config, weights in the training's dtype, and tokenizer; all processes call it, the first one writes."""
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in learner.weights():
        if is_first:
            weights[name] = tensor.cpu()
    if is_first:
        model = learner.policy.module.model
        model.config.use_cache = True
        try:
            model.save_pretrained(folder, state_dict=weights)
        finally:
            model.config.use_cache = False
        tokenizer.save_pretrained(folder)
