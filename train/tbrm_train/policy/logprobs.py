"""log pi, logsumexp and entropy of response tokens, with gradients, without materialising their logits.

    logits = softcap(scale * (hidden @ weight.T + bias)) / temperature           (N, V), never in memory
    logprob = logit[a] - logsumexp        V(s) = logsumexp        entropy = logsumexp - E_pi logit

Forward walks over tiles of the vocabulary and keeps a running maximum, sum and mean (Milakov and Gimelshein 2018,
https://arxiv.org/abs/1805.02867). Backward recomputes each tile; given the logsumexp, the probabilities of a tile
are final, so the gradient of the tile's rows of the weight is one product over all tokens and needs no accumulator of
the weight's size. Working memory is `chunk_bytes`, plus N * H floats for the gradient of the hidden states.

Logits are float32 where hidden states and weight are bfloat16: they are never rounded to bfloat16, where a logit of 20
moves in steps of 0.125. With float64 inputs everything is float64, as in the tests.

Cohere and Granite scale their logits, Gemma 2 and 4 soft-cap them: cap * tanh(logit / cap).

Example: hidden (2, 64), weight (151936, 64), targets [17, 9] -> logprobs [-1.2, -0.1], all outputs (2,).

Legend: N response tokens, H hidden size, V vocabulary, C columns of a tile.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# A matrix product on a GPU reaches full speed at a few hundred columns.
MIN_COLUMNS = 256
# A logit and its exponential in float32, and the gradient rounded for the product.
BYTES_PER_LOGIT = 10
CHUNK_BYTES = {"cpu": 32 << 20}
DEFAULT_CHUNK_BYTES = 1 << 30
# Since torch 2.8 a product of half-precision matrices can return float32; before, they are converted first (slower).
OUT_DTYPE = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 8)


class TokenScores(NamedTuple):
    """What a policy assigns to each response token, in nats at the sampling temperature."""

    logprobs: Tensor  # (N,) log pi(a|s)
    logsumexp: Tensor  # (N,) V(s), the soft value where logits are Q-values
    entropy: Tensor  # (N,) of pi(.|s)

    def detached(self) -> "TokenScores":
        """Return the same scores without gradients."""
        return TokenScores(*(part.detach() for part in self))


class HeadForm(NamedTuple):
    """What a model applies to the product of its output layer to get logits."""

    scale: float = 1.0
    softcap: float | None = None


PLAIN = HeadForm()


def token_scores(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    form: HeadForm = PLAIN,
    temperature: float = 1.0,
    chunk_bytes: int | None = None,
) -> TokenScores:
    """Return the scores of N tokens: float32, or float64 for float64 inputs; gradients go to hidden, weight and bias.

    hidden (N, H) are the states that predict the tokens, weight (V, H) and bias (V,) the output layer's, same dtype;
    targets (N,) are token ids in [0, V). N = 0 gives empty scores. `chunk_bytes` bounds the memory for logits (by
    default 32 MiB on a CPU, 1 GiB on a GPU), down to tiles of 256 columns; it changes results only by rounding.
    """
    assert hidden.dtype == weight.dtype, f"hidden states are {hidden.dtype}, the output layer is {weight.dtype}"
    assert temperature > 0, f"temperature {temperature} has no log-probabilities"
    limit = chunk_bytes or CHUNK_BYTES.get(hidden.device.type, DEFAULT_CHUNK_BYTES)
    columns = max(MIN_COLUMNS, limit // (BYTES_PER_LOGIT * max(1, len(targets))))
    return TokenScores(*_Scores.apply(hidden, weight, bias, targets, form, temperature, columns))  # type: ignore[no-untyped-call]


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        form: HeadForm,
        temperature: float,
        columns: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Keep three floats per token, and the inputs to recompute the logits."""
        with _exact(hidden):
            tiles = _tiles(hidden, weight, bias, form, temperature, columns)
            chosen, logsumexp, entropy = _running(tiles, targets, _accumulator(hidden.new_empty(len(targets))))
        ctx.save_for_backward(hidden, weight, bias, targets, logsumexp, entropy)
        ctx.form, ctx.temperature, ctx.columns = form, temperature, columns
        ctx.set_materialize_grads(False)
        return chosen - logsumexp, logsumexp, entropy

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_logprobs: Tensor | None, grad_logsumexp: Tensor | None, grad_entropy: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Recompute each tile's logits, and their gradient."""
        hidden, weight, bias, targets, logsumexp, entropy = ctx.saved_tensors
        grads = tuple(None if part is None else part[:, None] for part in (grad_logprobs, grad_logsumexp, grad_entropy))
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        on_hidden = _accumulator(torch.zeros_like(hidden)) if wants_hidden else None
        on_weight = torch.empty_like(weight) if wants_weight else None
        on_bias = torch.empty_like(bias) if wants_bias else None
        with _exact(hidden):
            for start, logits in _tiles(hidden, weight, bias, ctx.form, ctx.temperature, ctx.columns):
                end = start + logits.shape[1]
                slope = _slope(logits, ctx.form, ctx.temperature)
                signal = _on_logits(logits, start, targets, logsumexp[:, None], entropy[:, None], grads)
                signal /= ctx.temperature
                signal = signal if slope is None else signal.mul_(slope)
                if on_hidden is not None:
                    on_hidden += _product(signal, weight[start:end])
                if on_weight is not None:
                    on_weight[start:end] = _product(signal.T, hidden)
                if on_bias is not None:
                    on_bias[start:end] = signal.sum(dim=0)
        on_hidden = None if on_hidden is None else on_hidden.to(hidden.dtype)
        return on_hidden, on_weight, on_bias, None, None, None, None


def _tiles(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, form: HeadForm, temperature: float, columns: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the logits of a few columns at a time, (N, C) to be overwritten, with the index of the first column."""
    for start in range(0, len(weight), columns):
        logits = _product(hidden, weight[start : start + columns].T)
        if bias is not None:
            logits += bias[start : start + columns]
        if form.scale != 1:
            logits *= form.scale
        if form.softcap is not None:
            logits = logits.div_(form.softcap).tanh_().mul_(form.softcap)
        yield start, logits.div_(temperature) if temperature != 1 else logits


def _slope(logits: Tensor, form: HeadForm, temperature: float) -> Tensor | float | None:
    """Return d logit / d product of the output layer over a tile, both at temperature 1; None is 1 everywhere."""
    if form.softcap is None:
        return None if form.scale == 1 else form.scale
    return (logits * (temperature / form.softcap)).square_().neg_().add_(1).mul_(form.scale)


def _running(tiles: Iterator[tuple[int, Tensor]], targets: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each token's own logit, the logsumexp and the entropy, (N,) each.

    Relative to the largest logit so far: the sum of exp(logit - largest), and that of the same times its exponent.
    """
    chosen, total, weighted = torch.zeros_like(like), torch.zeros_like(like), torch.zeros_like(like)
    largest = torch.full_like(like, -torch.inf)
    for start, logits in tiles:
        chosen += _pick(logits, targets - start)
        higher = torch.maximum(largest, logits.amax(dim=1))
        # On the first tile the sums are 0, so the infinite shift is replaced by 0.
        shift = torch.where(total > 0, largest - higher, torch.zeros_like(higher))
        weighted, total = (weighted + shift * total) * shift.exp(), total * shift.exp()
        logits -= higher[:, None]
        masses = logits.exp()
        total += masses.sum(dim=1)
        weighted += masses.mul_(logits).sum(dim=1)
        largest = higher
    return chosen, largest + total.log(), total.log() - weighted / total


def _on_logits(
    logits: Tensor,
    start: int,
    targets: Tensor,
    logsumexp: Tensor,
    entropy: Tensor,
    grads: tuple[Tensor | None, ...],
) -> Tensor:
    """Return d loss / d logits of a tile, overwriting it: onehot - pi, pi and -pi (log pi + entropy), weighted."""
    on_logprobs, on_logsumexp, on_entropy = grads
    zero = torch.zeros_like(logsumexp)
    on_pi = (zero if on_logsumexp is None else on_logsumexp) - (zero if on_logprobs is None else on_logprobs)
    log_pi = logits.sub_(logsumexp)
    if on_entropy is None:
        signal = log_pi.exp_().mul_(on_pi)
    else:
        pi = log_pi.exp()
        signal = log_pi.add_(entropy).mul_(-on_entropy).add_(on_pi).mul_(pi)
    if on_logprobs is not None:
        inside, column = _columns(signal, targets - start)
        signal.scatter_add_(1, column, torch.where(inside, on_logprobs, zero))
    return signal


def _columns(tile: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, 1) each: whether a token's column is in the tile, and the column (some column of it if not)."""
    inside = (columns >= 0) & (columns < tile.shape[1])
    return inside[:, None], columns.clamp(0, tile.shape[1] - 1)[:, None]


def _pick(tile: Tensor, columns: Tensor) -> Tensor:
    """Return each token's value in the tile (N,), 0 if its column is outside."""
    inside, column = _columns(tile, columns)
    found = tile.gather(1, column)
    return torch.where(inside, found, torch.zeros_like(found))[:, 0]


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return left @ right, summed and returned in float32 at least."""
    halves = [part.dtype for part in (left, right) if part.dtype in (torch.bfloat16, torch.float16)]
    if not halves:
        return left @ right
    if left.is_cuda and OUT_DTYPE:
        # Tensor cores multiply in half precision and accumulate in float32; out_dtype returns that before rounding.
        return torch.mm(left.to(halves[0]), right.to(halves[0]), out_dtype=torch.float32)
    return left.float() @ right.float()


def _accumulator(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _exact(hidden: Tensor) -> Any:
    """Disable an autocast around the training step, which would round what is deliberately float32."""
    return torch.autocast(hidden.device.type, enabled=False)
