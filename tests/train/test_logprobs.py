"""Chunked log-probabilities: the naive numbers and gradients, whatever the chunk, in a fraction of the memory."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from tbrm_train.logprobs import token_stats


def naive(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    logits = hidden @ weight.T / temperature
    log_pi = logits.log_softmax(dim=-1)
    chosen = log_pi.gather(1, targets[:, None])[:, 0]
    return chosen, logits.logsumexp(dim=-1), -(log_pi.exp() * log_pi).sum(dim=-1)


def inputs(
    n: int = 7, h: int = 5, v: int = 11, dtype: torch.dtype = torch.float64, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n * v)
    hidden = (scale * torch.randn(n, h, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
    weight = torch.randn(v, h, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(v, (n,), generator=generator)


@pytest.mark.parametrize("tokens_a_chunk", [1, 3, 7, 100])
@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.5])
def test_numbers_and_gradients_are_the_naive_ones(tokens_a_chunk: int, temperature: float) -> None:
    hidden, weight, targets = inputs()
    weights_of_outputs = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = []
    for function in (
        lambda: token_stats(hidden, weight, targets, temperature, chunk_bytes=tokens_a_chunk * 4 * 11),
        lambda: naive(hidden, weight, targets, temperature),
    ):
        outputs = torch.stack(function())  # type: ignore[no-untyped-call]
        results.append((outputs, *torch.autograd.grad((outputs * weights_of_outputs).sum(), (hidden, weight))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_gradients_by_finite_differences() -> None:
    hidden, weight, targets = inputs(n=4, h=3, v=6)
    assert torch.autograd.gradcheck(lambda h, w: token_stats(h, w, targets, 0.7, chunk_bytes=48), (hidden, weight))


def test_a_tied_head_gets_the_sum_of_both_gradients() -> None:
    """The embedding is used twice: to read tokens and, transposed, to score them."""
    _, weight, targets = inputs(n=6, h=5, v=11)
    read = torch.tensor([3, 1, 4, 1, 5, 9])
    gradients = [
        torch.autograd.grad(function(torch.tanh(weight[read]), weight, targets, 1.0)[0].sum(), weight)[0]
        for function in (token_stats, naive)
    ]
    torch.testing.assert_close(*gradients)


def test_large_logits_neither_overflow_nor_lose_the_small_probabilities() -> None:
    hidden, weight, targets = inputs(scale=300.0, dtype=torch.float32)
    ours = token_stats(hidden, weight, targets, 1.0)
    exact = naive(hidden.double(), weight.double(), targets, 1.0)
    for one, other in zip(ours, exact, strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=2e-3)


def test_bfloat16_weights_are_summed_in_float32() -> None:
    """Rounding the inputs is all that is lost: against exact arithmetic on the same rounded inputs, float32 errors."""
    hidden, weight, targets = inputs(n=40, h=64, v=200, dtype=torch.bfloat16)
    ours = token_stats(hidden, weight, targets, 1.0)
    exact = naive(hidden.double(), weight.double(), targets, 1.0)
    for one, other in zip(ours, exact, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)
    ours[0].sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert weight.grad is not None
    assert (hidden.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.bfloat16)


def test_a_frozen_head_and_no_tokens() -> None:
    hidden, weight, targets = inputs()
    token_stats(hidden, weight.detach(), targets, 1.0)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    nothing = token_stats(hidden[:0], weight, targets[:0], 1.0)
    assert [len(part) for part in nothing] == [0, 0, 0]
    sum(part.sum() for part in nothing).backward()  # type: ignore[union-attr]
    assert weight.grad is not None
    assert weight.grad.abs().max() == 0


PEAK = """
import resource, sys, torch
sys.path[:0] = {path!r}
from tbrm_train.logprobs import token_stats
torch.set_num_threads(1)
hidden, weight = torch.randn(1000, 32, requires_grad=True), torch.randn(50_000, 32, requires_grad=True)
targets = torch.randint(50_000, (1000,))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if {chunked}:
    outputs = token_stats(hidden, weight, targets, 1.0, chunk_bytes=8 << 20)
else:
    logits = hidden @ weight.T
    outputs = (logits.log_softmax(-1).gather(1, targets[:, None])[:, 0],)
sum(part.sum() for part in outputs).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_it_never_holds_the_logits_of_all_tokens() -> None:
    """1,000 tokens times 50,000 words are 191 MiB in float32; the naive way holds them at least twice."""
    peaks = {
        chunked: float(
            subprocess.run(
                [sys.executable, "-c", PEAK.format(path=sys.path, chunked=chunked)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for chunked in (True, False)
    }
    assert peaks[True] < 191 / 2
    assert peaks[False] > 2 * 191
