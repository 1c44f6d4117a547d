"""Numbers of response tokens without their logits: log pi, logsumexp and entropy, a chunk of tokens at a time.

    l = h W^T / T          V = logsumexp l        log pi(a) = l_a - V        H = V - sum_j pi_j l_j

For a vocabulary of 152,000 the logits of 2,048 tokens take 1.2 GB in float32, and autograd holds them three times. Here
the forward pass keeps three numbers a token, and the backward pass computes a chunk's logits once more:

    d log pi(a) / d l = onehot(a) - pi      d V / d l = pi      d H / d l = -pi (l - (V - H))

Logits, sums and their gradients are float32 (float64 for float64 inputs) whatever the dtype of the weights.

Legend: N response tokens, H hidden size, V vocabulary, C tokens of a chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# A chunk's logits take at most this many bytes; three such arrays live at once.
CHUNK_BYTES = 64 << 20


def token_stats(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, *, chunk_bytes: int = CHUNK_BYTES
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (log pi(target), logsumexp, entropy), each (N,), in nats at the temperature, with gradients.

    `hidden` (N, H) are the states that predict the `targets` (N,); `weight` (V, H) is the language-model head, tied or
    not. The gradients of `hidden` and `weight` have their dtypes; the weight's is accumulated in float32. NaN for no
    finite logits, as in the plain computation.
    """
    chunk = max(1, chunk_bytes // (4 * weight.shape[0]))
    logprobs, logsumexp, entropy = _TokenStats.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, temperature, chunk
    )
    return logprobs, logsumexp, entropy


def _logits(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """Return (C, V) logits in float32, accumulated and rounded there."""
    if hidden.dtype in (torch.float32, torch.float64):
        return hidden @ weight.T / temperature
    if hidden.is_cuda:  # tensor cores take 16-bit numbers and give float32 sums
        return torch.mm(hidden, weight.T, out_dtype=torch.float32) / temperature
    return hidden.float() @ weight.float().T / temperature


class _TokenStats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        logprobs, logsumexp, entropy = (hidden.new_empty(len(targets), dtype=dtype) for _ in range(3))
        for start in range(0, len(targets), chunk):
            part = slice(start, start + chunk)
            logits = _logits(hidden[part], weight, temperature)  # (C, V)
            total = logits.logsumexp(dim=-1)
            logprobs[part] = logits.gather(1, targets[part, None])[:, 0] - total
            logsumexp[part] = total
            probabilities = (logits - total[:, None]).exp_()
            entropy[part] = total - probabilities.mul_(logits).sum(dim=-1)
        ctx.save_for_backward(hidden, weight, targets, logsumexp, entropy)
        ctx.temperature, ctx.chunk = temperature, chunk
        return logprobs, logsumexp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        of_logprobs, of_logsumexp, of_entropy = gradients
        hidden, weight, targets, logsumexp, entropy = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=logsumexp.dtype) if ctx.needs_input_grad[1] else None
        for start in range(0, len(targets), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = _logits(hidden[part], weight, ctx.temperature)  # (C, V)
            probabilities = (logits - logsumexp[part, None]).exp_()
            mean = (logsumexp[part] - entropy[part])[:, None]
            slope = (of_logsumexp[part] - of_logprobs[part])[:, None] - of_entropy[part, None] * (logits - mean)
            slope.mul_(probabilities)
            slope.scatter_add_(1, targets[part, None], of_logprobs[part, None])
            slope.div_(ctx.temperature)
            if grad_hidden is not None:
                grad_hidden[part] = slope.to(weight.dtype) @ weight
            if grad_weight is not None:
                grad_weight.addmm_(slope.T, hidden[part].to(slope.dtype))
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None, None
