"""Models as losses see them: micro-batches in, numbers of the response tokens out.

    Policy(batch)  -> log pi, logsumexp, entropy of every response token    (N,) each, float32
    Critic(batch)  -> the value before every response token                 (N,), float32

The response tokens of a micro-batch stand in one row, trajectory after trajectory; padding, which stands on the right
where a causal model's tokens never look, is not among them.

Legend: B trajectories, T tokens of the longest, N response tokens of all, H hidden size.
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
    """Trajectories padded to one length, and where their response tokens stand."""

    input_ids: Tensor  # (B, T)
    rows: Tensor  # (N,) the trajectory of each response token
    places: Tensor  # (N,) where the hidden state stands that predicts it
    targets: Tensor  # (N,) the token itself
    lengths: tuple[int, ...]  # response tokens of each trajectory


def make_batch(sequences: Sequence[tuple[Sequence[int], Sequence[int]]], *, device: str) -> TokenBatch:
    """Pad (prompt, response) pairs to the longest; every response has at least one token."""
    width = max(len(prompt) + len(response) for prompt, response in sequences)
    input_ids = torch.zeros((len(sequences), width), dtype=torch.long)
    rows, places = [], []
    for row, (prompt, response) in enumerate(sequences):
        end = len(prompt) + len(response)
        input_ids[row, :end] = torch.tensor([*prompt, *response])
        rows.append(torch.full((len(response),), row))
        places.append(torch.arange(len(prompt) - 1, end - 1))
    all_rows, all_places = torch.cat(rows), torch.cat(places)
    return TokenBatch(
        input_ids=input_ids.to(device),
        rows=all_rows.to(device),
        places=all_places.to(device),
        targets=input_ids[all_rows, all_places + 1].to(device),
        lengths=tuple(len(response) for _, response in sequences),
    )


class Policy(nn.Module):
    """A causal language model that scores response tokens without holding all of their logits."""

    def __init__(self, model: Any, *, temperature: float) -> None:
        """Take the model over; raises UserError if its logits are made in a way that is not known here."""
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
    """The same transformer with one number a token in place of logits; it starts at 0 everywhere."""

    def __init__(self, model: Any) -> None:
        """Take the model's decoder over; its logits are not used."""
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
    """Return the model of a folder for training; raises UserError if it cannot be loaded."""
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
    # Training mode would start dropout and the jitter of routers, which make policy and reference differ by chance.
    model.eval()
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        for module in model.modules():
            _checkpoint_without_chance(module)
    return model


def _checkpoint_without_chance(module: nn.Module) -> None:
    """Set a layer that checkpoints, and not its children, to training mode, without which it would not checkpoint."""
    if getattr(module, "gradient_checkpointing", False):
        module.training = True
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and ("drop" in name or "jitter" in name):
                setattr(module, name, 0.0)


def _hidden(decoder: Any, batch: TokenBatch) -> Tensor:
    # No mask: what stands right of a token is padding or its future, and attention is causal.
    states = decoder(input_ids=batch.input_ids, use_cache=False).last_hidden_state  # (B, T, H)
    found: Tensor = states[batch.rows, batch.places]
    return found
