"""Both engines, for real, on the bundled model: they agree, and a sample depends on its request alone."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tbrm_bench.engines.base import Engine, EngineConfig, kv_cache_bytes
from tbrm_bench.engines.hf import HfEngine
from tbrm_bench.engines.vllm import VllmEngine
from tbrm_bench.errors import MissingPrerequisite
from tbrm_bench.prompts.protocol import load_protocol
from tbrm_bench.prompts.render import load_tokenizer, render_prompts, stop_token_ids
from tbrm_bench.records import Prompt, Sample, SampleKey, SampleRequest, Sampling
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.seeds import sample_seed
from tbrm_bench.tasks.generators.arithmetic import generate

MAX_TOKENS = 48


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    tokenizer = load_tokenizer(builtin_model_dir("tiny"))
    return render_prompts(generate(num_problems=24, seed=5), load_protocol("quickstart"), tokenizer)


@pytest.fixture(scope="module")
def stop_ids() -> tuple[int, ...]:
    path = builtin_model_dir("tiny")
    return stop_token_ids(load_tokenizer(path), path, load_protocol("quickstart"))


def requests(
    prompts: list[Prompt],
    stop_ids: tuple[int, ...],
    *,
    temperature: float,
    num_samples: int = 1,
    top_p: float = 1.0,
    stop: tuple[str, ...] = (),
    max_tokens: int = MAX_TOKENS,
) -> list[SampleRequest]:
    sampling = Sampling(temperature, top_p, max_tokens, stop, stop_ids)
    keys = [(prompt, SampleKey(*prompt.key, index)) for prompt in prompts for index in range(num_samples)]
    return [SampleRequest(key, prompt.token_ids, sampling, sample_seed(1, key)) for prompt, key in keys]


def flat(lists: Iterable[list[Sample]]) -> list[Sample]:
    return [sample for samples in lists for sample in samples]


def by_key(lists: Iterable[list[Sample]]) -> dict[SampleKey, Sample]:
    samples = flat(lists)
    assert len({sample.key for sample in samples}) == len(samples)
    return {sample.key: sample for sample in samples}


def test_greedy_outputs_of_both_engines_are_equal(
    vllm_engine: Engine, hf_engine: Engine, prompts: list[Prompt], stop_ids: tuple[int, ...]
) -> None:
    wanted = requests(prompts, stop_ids, temperature=0.0)
    assert by_key(vllm_engine.generate(wanted)) == by_key(hf_engine.generate(wanted))


@pytest.mark.parametrize("name", ["vllm_engine", "hf_engine"])
def test_a_sample_does_not_depend_on_its_neighbours(
    name: str, request: pytest.FixtureRequest, prompts: list[Prompt], stop_ids: tuple[int, ...]
) -> None:
    engine: Engine = request.getfixturevalue(name)
    wanted = requests(prompts, stop_ids, temperature=1.0, num_samples=3)
    together = by_key(engine.generate(wanted))
    backwards = by_key(engine.generate(reversed(wanted)))
    alone = by_key(samples for one in wanted[:7] for samples in engine.generate([one]))
    assert backwards == together
    assert alone == {key: together[key] for key in alone}


@pytest.mark.parametrize("name", ["vllm_engine", "hf_engine"])
def test_samples_of_one_problem_differ(
    name: str, request: pytest.FixtureRequest, prompts: list[Prompt], stop_ids: tuple[int, ...]
) -> None:
    engine: Engine = request.getfixturevalue(name)
    samples = flat(engine.generate(requests(prompts[-4:], stop_ids, temperature=1.5, num_samples=8)))
    for prompt in prompts[-4:]:
        texts = {sample.text for sample in samples if sample.key.problem_id == prompt.key.problem_id}
        assert len(texts) > 1


def test_both_engines_draw_from_the_same_distribution(
    vllm_engine: Engine, hf_engine: Engine, prompts: list[Prompt], stop_ids: tuple[int, ...]
) -> None:
    """First tokens after a fork in the text: total variation between 400 draws of each stays within sampling noise."""
    wanted = requests(prompts[:1], stop_ids, temperature=2.0, num_samples=400, top_p=0.9, max_tokens=2)
    counts: list[dict[tuple[int, ...], float]] = []
    for engine in (vllm_engine, hf_engine):
        shares: dict[tuple[int, ...], float] = {}
        for sample in flat(engine.generate(wanted)):
            shares[sample.token_ids] = shares.get(sample.token_ids, 0) + 1 / 400
        counts.append(shares)
    first, second = counts
    # Over outcomes with a share of at least 5 % the difference of two draws of 400 has a sd below 0.036.
    common = {key for key in first.keys() | second.keys() if max(first.get(key, 0), second.get(key, 0)) > 0.05}
    assert common
    assert max(abs(first.get(key, 0) - second.get(key, 0)) for key in common) < 0.15


@pytest.mark.parametrize("name", ["vllm_engine", "hf_engine"])
def test_finish_reasons_tell_the_cap_from_the_end(
    name: str, request: pytest.FixtureRequest, prompts: list[Prompt], stop_ids: tuple[int, ...]
) -> None:
    engine: Engine = request.getfixturevalue(name)
    for sample in flat(engine.generate(requests(prompts, stop_ids, temperature=0.0, max_tokens=3))):
        assert (sample.finish_reason == "stop") == (sample.token_ids[-1] in stop_ids)
        assert sample.finish_reason == "stop" or len(sample.token_ids) == 3
        assert not set(sample.token_ids[:-1]) & set(stop_ids)


@pytest.mark.parametrize("name", ["vllm_engine", "hf_engine"])
def test_a_stop_string_ends_the_text_before_it(
    name: str, request: pytest.FixtureRequest, prompts: list[Prompt], stop_ids: tuple[int, ...]
) -> None:
    engine: Engine = request.getfixturevalue(name)
    whole = by_key(engine.generate(requests(prompts[:8], stop_ids, temperature=0.0)))
    for key, sample in by_key(
        engine.generate(requests(prompts[:8], stop_ids, temperature=0.0, stop=("boxed",)))
    ).items():
        assert sample.text == whole[key].text.split("boxed")[0]
        assert sample.finish_reason == "stop" or "boxed" not in whole[key].text


@pytest.mark.parametrize("name", ["vllm_engine", "hf_engine"])
def test_what_ends_exactly_at_the_cap_has_ended(
    name: str, request: pytest.FixtureRequest, prompts: list[Prompt], stop_ids: tuple[int, ...]
) -> None:
    """A stop token, or a stop string, as the last token that the cap allows; with one token less it met the cap."""
    engine: Engine = request.getfixturevalue(name)
    for stop in ((), ("boxed",)):
        wanted = requests(prompts[:4], stop_ids, temperature=0.0, stop=stop, max_tokens=96)
        ended = [sample for sample in by_key(engine.generate(wanted)).values() if sample.finish_reason == "stop"]
        assert ended
        for sample in ended:
            prompt = next(prompt for prompt in prompts if prompt.key == sample.key[:2])
            for cap, reason in ((len(sample.token_ids), "stop"), (len(sample.token_ids) - 1, "length")):
                (again,) = flat(
                    engine.generate(requests([prompt], stop_ids, temperature=0.0, stop=stop, max_tokens=cap))
                )
                assert (again.finish_reason, again.token_ids) == (reason, sample.token_ids[:cap])


@pytest.mark.parametrize("name", ["vllm_engine", "hf_engine"])
def test_requests_are_drawn_lazily(
    name: str, request: pytest.FixtureRequest, prompts: list[Prompt], stop_ids: tuple[int, ...]
) -> None:
    engine: Engine = request.getfixturevalue(name)
    drawn = 0

    def endless() -> Iterator[SampleRequest]:
        nonlocal drawn
        sampling = Sampling(0.0, 1.0, 2, (), stop_ids)
        while True:
            drawn += 1
            yield SampleRequest(SampleKey("t", str(drawn), 0), prompts[0].token_ids, sampling, drawn)

    samples = engine.generate(endless())
    assert next(samples)
    samples.close()
    assert drawn <= 1024


def test_the_engine_is_usable_after_a_generation_was_left(
    vllm_engine: Engine, prompts: list[Prompt], stop_ids: tuple[int, ...]
) -> None:
    wanted = requests(prompts, stop_ids, temperature=0.0)
    samples = vllm_engine.generate(wanted)
    next(samples)
    samples.close()
    assert len(by_key(vllm_engine.generate(wanted))) == len(wanted)


def test_a_gpu_that_is_not_there_is_named(engine_config: EngineConfig) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    asked = EngineConfig(engine_config.model_dir, max_model_len=512, device="cuda")
    for engine in (VllmEngine, HfEngine):
        with pytest.raises(MissingPrerequisite, match="device=cuda was asked for"):
            engine(asked)


def test_the_cache_bound_counts_keys_and_values(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 2, "hidden_size": 256}'
    )
    config = EngineConfig(str(tmp_path), max_model_len=1)
    # 10 tokens, keys and values, 3 layers, 2 heads of 32 channels, 2 bytes each
    assert kv_cache_bytes(config, "bfloat16", num_tokens=10) == 10 * 2 * 3 * 2 * 32 * 2
