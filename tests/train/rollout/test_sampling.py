"""Rollout engines: new weights are used at once and completely, and both engines agree on them."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tbrm_bench.engines.base import Engine
from tbrm_bench.errors import RunFailed
from tbrm_bench.records import SampleKey, SampleRequest, Sampling
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.seeds import sample_seed
from tbrm_train.rollout.sampling import Continuation, HfRollouts, Rollouts, VllmRollouts, probe_differences

PROBES = [Continuation(tuple(range(5, 5 + length)), tuple(range(40, 40 + length))) for length in (2, 7, 20)]


def weights() -> dict[str, torch.Tensor]:
    """The bundled model's weights, tied logits under their own name too."""
    found = {
        name: weight.float() for name, weight in load_file(builtin_model_dir("tiny") / "model.safetensors").items()
    }
    return {**found, "lm_head.weight": found["model.embed_tokens.weight"]}


def moved(scale: float) -> dict[str, torch.Tensor]:
    """The same, moved at random."""
    generator = torch.Generator().manual_seed(0)
    found = {
        name: weight + scale * torch.randn(weight.shape, generator=generator) for name, weight in weights().items()
    }
    return {**found, "lm_head.weight": found["model.embed_tokens.weight"]}


def lend(kind: type[Rollouts], engine: Engine) -> Iterator[Rollouts]:
    """Use an engine that all tests share, and restore its weights."""
    rollouts: Any = object.__new__(kind)
    rollouts.engine = engine
    yield rollouts
    rollouts.load(weights().items())


@pytest.fixture
def vllm(vllm_engine: Engine) -> Iterator[Rollouts]:
    yield from lend(VllmRollouts, vllm_engine)


@pytest.fixture
def hf(hf_engine: Engine) -> Iterator[Rollouts]:
    yield from lend(HfRollouts, hf_engine)


def asked() -> list[SampleRequest]:
    keys = [SampleKey("t", "p", index) for index in range(6)]
    sampling = Sampling(1.0, 1.0, 12, (), (2,))
    return [SampleRequest(key, (5, 6, 7, 8 + key.sample_index % 2), sampling, sample_seed(0, key)) for key in keys]


def largest(ours: Rollouts, theirs: Rollouts) -> float:
    return max(probe_differences(ours.logprobs(PROBES), theirs.logprobs(PROBES)))


def test_both_engines_agree_after_every_load(vllm: Rollouts, hf: Rollouts) -> None:
    for scale in (0.0, 0.01, 0.02):
        new = moved(scale)
        for rollouts in (vllm, hf):
            rollouts.generate(asked())  # fills the prefix cache using the old weights
            rollouts.load(new.items())
        assert largest(vllm, hf) < 2e-5


def test_a_probe_sees_weights_that_did_not_arrive(vllm: Rollouts, hf: Rollouts) -> None:
    hf.load(moved(0.002).items())
    assert largest(vllm, hf) > 1e-3


@pytest.mark.parametrize("name", ["vllm", "hf"])
def test_samples_follow_the_weights_and_come_in_the_order_asked(name: str, request: pytest.FixtureRequest) -> None:
    rollouts: Rollouts = request.getfixturevalue(name)
    before = rollouts.generate(asked())
    assert [sample.key for sample in before] == [one.key for one in asked()]
    rollouts.load(moved(0.05).items())
    assert rollouts.generate(asked()) != before
    rollouts.load(weights().items())
    assert rollouts.generate(asked()) == before
    backwards = rollouts.generate(asked()[::-1])
    assert backwards[::-1] == before, "a sample depends on its seed, not on its batch"


def test_a_weight_that_is_not_sent_is_told(hf: Rollouts) -> None:
    part: Mapping[str, torch.Tensor] = {name: w for name, w in weights().items() if name != "model.norm.weight"}
    with pytest.raises(RunFailed, match=r"no weights for model\.norm\.weight"):
        hf.load(part.items())
