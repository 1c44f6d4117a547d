"""Models as losses see them: micro-batches in, per-token values of the responses out.

    Policy(batch)  -> log pi, logsumexp, entropy of every response token    (N,) each, float32
    Critic(batch)  -> the value before every response token                 (N,), float32

The response tokens of a micro-batch are concatenated, trajectory after trajectory, without padding. Inputs are padded
on the right, where a causal model never looks.

Legend: B trajectories, T tokens of the longest, N response tokens, H hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tbrm_bench.engines.hf import check_loaded
from tbrm_bench.errors import UserError
from tbrm_train.policy.head import head_form
from tbrm_train.policy.logprobs import TokenScores, token_scores

__all__ = ["Critic", "Policy", "TokenBatch", "TokenScores", "load_model", "make_batch"]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Trajectories padded to one length, and the indices of their response tokens."""

    input_ids: Tensor  # (B, T)
    segment_ids: Tensor  # (N,) the trajectory of each response token
    logits_indices: Tensor  # (N,) position in (T,) of the hidden state that predicts it
    targets: Tensor  # (N,) the token itself
    lengths: tuple[int, ...]  # response tokens of each trajectory


def make_batch(sequences: Sequence[tuple[Sequence[int], Sequence[int]]], *, device: str) -> TokenBatch:
    """Pad (prompt, response) pairs to the longest; every response has at least one token."""
    width = max(len(prompt) + len(response) for prompt, response in sequences)
    input_ids = torch.zeros((len(sequences), width), dtype=torch.long)
    segments, positions = [], []
    for row, (prompt, response) in enumerate(sequences):
        end = len(prompt) + len(response)
        input_ids[row, :end] = torch.tensor([*prompt, *response])
        segments.append(torch.full((len(response),), row))
        positions.append(torch.arange(len(prompt) - 1, end - 1))
    segment_ids, logits_indices = torch.cat(segments), torch.cat(positions)
    return TokenBatch(
        input_ids=input_ids.to(device),
        segment_ids=segment_ids.to(device),
        logits_indices=logits_indices.to(device),
        targets=input_ids[segment_ids, logits_indices + 1].to(device),
        lengths=tuple(len(response) for _, response in sequences),
    )


class Policy(nn.Module):
    """A causal language model that scores response tokens without materialising their logits."""

    def __init__(self, model: Any, *, temperature: float) -> None:
        """Take over the model; raises UserError if it computes its logits in an unsupported way."""
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.form = head_form(model)

    def forward(self, batch: TokenBatch) -> TokenScores:
        """Score every response token."""
        hidden = _hidden(self.model.get_decoder(), batch)  # (N, H)
        head = self.model.get_output_embeddings()
        return token_scores(
            hidden,
            head.weight,
            batch.targets,
            bias=getattr(head, "bias", None),
            form=self.form,
            temperature=self.temperature,
        )


class Critic(nn.Module):
    """The same transformer with one value per token instead of logits; it starts at 0 everywhere."""

    def __init__(self, model: Any) -> None:
        """Take over the model's decoder; its output layer is not used."""
        super().__init__()
        self.decoder = model.get_decoder()
        self.head = nn.Linear(model.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: TokenBatch) -> Tensor:
        """Return the value before each response token (N,)."""
        hidden = _hidden(self.decoder, batch)
        values: Tensor = self.head(hidden.to(self.head.weight.dtype))[:, 0].float()
        return values


def load_model(model_dir: Path, *, dtype: str, gradient_checkpointing: bool) -> Any:
    """Load the model in a folder for training; raises UserError if that fails."""
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            model_dir,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{model_dir} cannot be loaded for training: {' '.join(str(error).split())[:200]}") from None
    check_loaded(model_dir, model, report)
    model.config.use_cache = False
    # Training mode would enable dropout and router jitter, which make policy and reference differ at random.
    model.eval()
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        for module in model.modules():
            _checkpoint_deterministically(module)
    return model


def _checkpoint_deterministically(module: nn.Module) -> None:
    """Set a layer, not its children, to training mode, which gradient checkpointing requires; zero its dropout."""
    if getattr(module, "gradient_checkpointing", False):
        module.training = True
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and ("drop" in name or "jitter" in name):
                setattr(module, name, 0.0)


def _hidden(decoder: Any, batch: TokenBatch) -> Tensor:
    # No attention mask: right of a token are only its future and padding, and attention is causal.
    states = decoder(input_ids=batch.input_ids, use_cache=False).last_hidden_state  # (B, T, H)
    found: Tensor = states[batch.segment_ids, batch.logits_indices]
    return found
