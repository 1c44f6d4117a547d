"""The policy's weights as a Hugging Face folder: what engines load and `tbench eval` takes."""

import shutil
from pathlib import Path
from typing import Any

import torch

from tbrm_train.learner.learner import Learner

GENERATION = "generation_config.json"


def write_model(learner: Learner, tokenizer: Any, folder: Path, *, is_first: bool) -> None:
    """Write config, tokenizer, and weights in the training's dtype; all processes call it, rank 0 writes."""
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in learner.weights():
        if is_first:
            weights[name] = tensor.cpu()
    if is_first:
        model = learner.policy.module.model
        # Copied verbatim: transformers refuses to write a greedy config with a temperature, which many models have.
        source, generation = Path(model.name_or_path) / GENERATION, model.generation_config
        model.config.use_cache = True
        try:
            if source.is_file():
                model.generation_config = type(generation)()
            model.save_pretrained(folder, state_dict=weights)
        finally:
            model.config.use_cache, model.generation_config = False, generation
        if source.is_file():
            shutil.copyfile(source, folder / GENERATION)
        tokenizer.save_pretrained(folder)
