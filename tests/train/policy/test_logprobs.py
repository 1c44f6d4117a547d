"""Scores of tokens in tiles against the plain formula, which holds all logits: results, gradients, memory."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tbrm_train.policy import logprobs
from tbrm_train.policy.logprobs import PLAIN, HeadForm, TokenScores, token_scores

torch.set_num_threads(1)
TINY = 1  # bytes: as many tiles as there can be


def naive(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    temperature: float,
    form: HeadForm = PLAIN,
) -> TokenScores:
    logits = hidden @ weight.T if bias is None else hidden @ weight.T + bias
    logits = logits * form.scale
    if form.softcap is not None:
        logits = form.softcap * torch.tanh(logits / form.softcap)
    logits = logits / temperature
    log_pi = logits.log_softmax(dim=-1)
    chosen = log_pi.gather(1, targets[:, None])[:, 0]
    return TokenScores(chosen, logits.logsumexp(dim=-1), -(log_pi.exp() * log_pi).sum(dim=-1))


def inputs(num: int, vocab: int, *, width: int = 5, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num, width, generator=draw, dtype=torch.float64, requires_grad=True)
    weight = (scale * torch.randn(vocab, width, generator=draw, dtype=torch.float64)).requires_grad_()
    bias = torch.randn(vocab, generator=draw, dtype=torch.float64, requires_grad=True)
    return hidden, weight, bias, torch.randint(vocab, (num,), generator=draw)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 3 columns."""
    monkeypatch.setattr(logprobs, "MIN_COLUMNS", 3)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_pass_gradcheck(narrow: None, temperature: float, with_bias: bool) -> None:
    hidden, weight, bias, targets = inputs(4, 10)

    def scores(*given: Tensor) -> tuple[Tensor, ...]:
        offset = given[2] if with_bias else None
        return token_scores(given[0], given[1], targets, bias=offset, temperature=temperature, chunk_bytes=TINY)

    assert torch.autograd.gradcheck(scores, (hidden, weight, bias)[: 3 if with_bias else 2])


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 7), st.integers(1, 600), st.sampled_from([1, 40_000, 1 << 30]), st.floats(0.2, 3.0),
    st.sampled_from([1e-3, 1.0, 60.0]), st.integers(0, 99),
    st.sampled_from([HeadForm(), HeadForm(scale=0.125), HeadForm(softcap=2.0), HeadForm(3.0, 30.0)]),
)  # fmt: skip
def test_results_and_gradients_are_the_naive_ones(
    num: int, vocab: int, limit: int, temperature: float, scale: float, seed: int, form: HeadForm
) -> None:
    hidden, weight, bias, targets = inputs(num, vocab, seed=seed, scale=scale)
    mix = torch.randn(3, num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ours = token_scores(hidden, weight, targets, bias=bias, form=form, temperature=temperature, chunk_bytes=limit)
    theirs = naive(hidden, weight, targets, bias, temperature, form)
    size = 1 + float(theirs.logsumexp.detach().abs().max()) if num else 1.0
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-13 * size)
    mine = torch.autograd.grad((mix * torch.stack(ours)).sum(), (hidden, weight, bias))
    other = torch.autograd.grad((mix * torch.stack(theirs)).sum(), (hidden, weight, bias))
    for one, two in zip(mine, other, strict=True):
        largest = float(two.abs().max()) if two.numel() else 0.0
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12 * size * (1 + largest))


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 1), (0, 2)])
def test_scores_that_a_loss_does_not_use_change_nothing(narrow: None, used: tuple[int, ...]) -> None:
    hidden, weight, _, targets = inputs(6, 20)
    ours = token_scores(hidden, weight, targets, temperature=0.7, chunk_bytes=TINY)
    theirs = naive(hidden, weight, targets, None, 0.7)
    mine = torch.autograd.grad(sum((ours[part] ** 2).sum() for part in used), (hidden, weight))  # type: ignore[arg-type]
    other = torch.autograd.grad(sum((theirs[part] ** 2).sum() for part in used), (hidden, weight))  # type: ignore[arg-type]
    for one, two in zip(mine, other, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_only_asked_gradients_are_made_and_a_frozen_model_keeps_none() -> None:
    hidden, weight, bias, targets = inputs(3, 9)
    with torch.no_grad():
        assert not token_scores(hidden, weight, targets).logprobs.requires_grad
    scores = token_scores(hidden, weight.detach(), targets, bias=bias.detach())
    scores.logprobs.sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert weight.grad is None
    assert all(not part.requires_grad for part in scores.detached())


def test_tied_heads_collect_both_gradients(narrow: None) -> None:
    """The embedding that made the hidden states is the output layer too."""
    _, weight, _, targets = inputs(6, 12)
    ids = torch.tensor([0, 3, 3, 7, 11, 1])
    ours = token_scores(weight[ids].tanh(), weight, targets, chunk_bytes=TINY)
    (mine,) = torch.autograd.grad((ours.logprobs + ours.entropy).sum(), weight)
    theirs = naive(weight[ids].tanh(), weight, targets, None, 1.0)
    (other,) = torch.autograd.grad((theirs.logprobs + theirs.entropy).sum(), weight)
    torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-13)


def test_bfloat16_weights_give_float32_scores_of_the_rounded_numbers() -> None:
    """Only inputs and gradients are rounded: logits, sums and exponentials are those of float32."""
    hidden, weight, _, targets = inputs(40, 3000, width=64, scale=0.5)
    halves = [part.detach().bfloat16().requires_grad_() for part in (hidden, weight)]
    exact = [part.detach().double().requires_grad_() for part in halves]
    ours = token_scores(halves[0], halves[1], targets)
    theirs = naive(exact[0], exact[1], targets, None, 1.0)
    in_halves = naive(halves[0], halves[1], targets, None, 1.0)
    for one, two, rounded in zip(ours, theirs, in_halves, strict=True):
        assert one.dtype == torch.float32
        assert float((one - two).detach().abs().max()) < 1e-4
        assert float((rounded - two).detach().abs().max()) > 1e-2, "what a model's own bfloat16 logits would give"
    mine = torch.autograd.grad(ours.logprobs.sum(), halves)
    other = torch.autograd.grad(theirs.logprobs.sum(), exact)
    for one, two in zip(mine, other, strict=True):
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one.double(), two, rtol=2**-8, atol=1e-6)


def test_an_autocast_around_it_changes_nothing() -> None:
    hidden, weight, _, targets = (part.detach() for part in inputs(8, 500, width=32))
    plain = token_scores(hidden.float(), weight.float(), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = token_scores(hidden.float(), weight.float(), targets)
    for one, two in zip(plain, inside, strict=True):
        assert torch.equal(one, two)


def test_huge_logits_neither_overflow_nor_lose_the_loser() -> None:
    weight = torch.tensor([[1e4], [0.0], [-1e4]])
    scores = token_scores(torch.ones(3, 1), weight, torch.tensor([0, 1, 2]))
    assert scores.logprobs.tolist() == [0.0, -1e4, -2e4]
    assert scores.logsumexp.tolist() == [1e4] * 3
    assert scores.entropy.tolist() == [0.0] * 3


def test_entropy_of_a_uniform_policy_is_the_log_of_the_vocabulary() -> None:
    scores = token_scores(torch.zeros(2, 3), torch.randn(50_000, 3), torch.tensor([0, 49_999]), chunk_bytes=TINY)
    expected = torch.full((2,), 50_000.0).log()
    for part, sign in zip(scores, (-1, 1, 1), strict=True):
        torch.testing.assert_close(part, sign * expected, rtol=1e-6, atol=0)


def test_another_dtype_or_temperature_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"hidden states are torch.float32, the output layer is torch.bfloat16"):
        token_scores(torch.ones(1, 2), torch.ones(3, 2).bfloat16(), torch.tensor([0]))
    with pytest.raises(AssertionError, match="temperature 0 has no log-probabilities"):
        token_scores(torch.ones(1, 2), torch.ones(3, 2), torch.tensor([0]), temperature=0)


MEMORY = r"""
import re, torch
from pathlib import Path
from tbrm_train.policy.logprobs import token_scores
def peak():  # not ru_maxrss, which begins with that of the process that started this one
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
torch.set_num_threads(1)
N, V, H = 2048, 32768, 32
hidden, weight = torch.randn(N, H, requires_grad=True), torch.randn(V, H, requires_grad=True)
targets = torch.randint(V, (N,))
token_scores(hidden[:8], weight, targets[:8]).logprobs.sum().backward()
before = peak()
scores = token_scores(hidden, weight, targets, chunk_bytes=16 << 20)
(scores.logprobs + scores.entropy).sum().backward()
print(peak() - before)
"""


def test_memory_stays_near_the_bound() -> None:
    """All logits of this would take 256 MiB, and twice that with their gradient."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(done.stdout) / 1024 < 64
