"""The output layer, from a model's last hidden state to its logits, which the trainer computes itself, tile by tile.

    head_form(model)  ->  HeadForm(scale=0.0625)             Cohere; Granite divides by its logits_scaling
    head_form(model)  ->  HeadForm(softcap=30.0)             Gemma 2
    head_form(model)  ->  UserError                          a head that is more than a matrix, a bias and these two

Two model classes read the same config key in opposite ways, so the form is measured: on a few tokens, the model's own
logits are compared with every form that its config allows.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tbrm_bench.errors import UserError
from tbrm_train.policy.logprobs import HeadForm

NUM_TOKENS = 8
SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier")
SOFTCAP = "final_logit_softcapping"
# Relative to the largest logit. In bfloat16 a form is rounded about four times, by 2**-9 each; wrong forms are far off.
TOLERANCE = 2**-6


def head_form(model: Any) -> HeadForm:
    """Return the form of a model's logits; raises UserError for a class that computes them in another way."""
    head, name = model.get_output_embeddings(), type(model).__name__
    if getattr(head, "weight", None) is None or not hasattr(model, "get_decoder"):
        raise UserError(f"{name} cannot be trained: it has no output layer that the trainer supports")
    ids = torch.arange(1, 1 + NUM_TOKENS)[None] % head.weight.shape[0]
    with torch.no_grad():
        theirs = model(input_ids=ids.to(head.weight.device), use_cache=False).logits[0].float()
        hidden = model.get_decoder()(input_ids=ids.to(head.weight.device), use_cache=False).last_hidden_state[0]
        if hidden.shape[-1] != head.weight.shape[-1]:
            raise UserError(
                f"{name} cannot be trained: its output layer does not take the hidden states of its decoder"
            )
        bias = getattr(head, "bias", None)
        product = torch.nn.functional.linear(hidden, head.weight, bias).float()
    forms = list(_forms(model.config.get_text_config()))
    if not bool(theirs.isfinite().all()):
        return forms[0]  # reported elsewhere, as not finite
    off = {form: _distance(product, theirs, form) for form in forms}
    best = min(forms, key=lambda form: off[form])
    if not off[best] <= TOLERANCE:
        raise UserError(
            f"{name} cannot be trained: its logits are not the product of its output layer, but {off[best]:.0%} off, "
            f"and no {', '.join((*SCALES, SOFTCAP))} of its config explains it"
        )
    return best


def _forms(config: Any) -> Iterator[HeadForm]:
    softcap = getattr(config, SOFTCAP, None)
    scales = [1.0]
    for key in SCALES:
        value = getattr(config, key, None)
        if isinstance(value, int | float) and value > 0 and math.isfinite(value):
            scales += [float(value), 1 / float(value)]
    for cap in (softcap, None) if softcap else (None,):
        for scale in scales:
            yield HeadForm(scale, cap)


def _distance(product: Tensor, theirs: Tensor, form: HeadForm) -> float:
    """Return the largest difference relative to the largest logit."""
    ours = product * form.scale
    if form.softcap is not None:
        ours = torch.tanh(ours / form.softcap) * form.softcap
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))
