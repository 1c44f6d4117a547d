"""Models that compute NaN: a run stops in one line, and stores nothing that they said."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tbrm_bench.engines.base import Engine
from tbrm_bench.engines.finite import MIN_REPEATS, MIN_TOKENS, withhold_repeats
from tbrm_bench.errors import ExitCode, RunFailed
from tbrm_bench.records import FinishReason, Sample, SampleKey
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.run.pipeline import run
from tbrm_bench.run.plan import EvalOptions, Plan, Settings
from tbrm_bench.run.prepare import prepare
from tbrm_bench.store import RunStore

Weights = dict[str, torch.Tensor]
# Two engines, of which each test loads its own.
ENGINES = [pytest.param("vllm", marks=pytest.mark.own_process), "hf"]


def changed(folder: Path, change: Callable[[Weights], None]) -> Path:
    """The bundled model with other weights, and a head of its own."""
    shutil.copytree(builtin_model_dir("tiny"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def plan(model: Path, run_dir: Path, engine: str, **settings: Any) -> Plan:
    return prepare(
        EvalOptions(
            model=str(model),
            tasks=("arithmetic",),
            protocol="quickstart",
            samples=2,
            limit=6,
            out=run_dir,
            engine=engine,
            settings=Settings(**settings),
        )
    )


def stored(run_dir: Path) -> dict[SampleKey, tuple[int, ...]]:
    with RunStore.open_reader(run_dir) as store:
        return {sample.key: sample.token_ids for sample in store.samples()}


def run_into_failure(chosen: Plan) -> str:
    with pytest.raises(RunFailed) as failure:
        run(chosen, lambda progress: None)
    assert failure.value.exit_code is ExitCode.FAILED
    assert "\n" not in str(failure.value)
    return str(failure.value)


def nan_in_a_layer(weights: Weights) -> None:
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")


def beyond_float16(weights: Weights) -> None:
    weights["model.layers.1.mlp.down_proj.weight"] *= 1e6


def infinite_logit(weights: Weights) -> None:
    weights["lm_head.weight"][7] = 3e38


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("change", "dtype", "said"),
    [
        (nan_in_a_layer, "float32", "check the model's files"),
        (beyond_float16, "float16", "use --set dtype=bfloat16"),
        (infinite_logit, "float32", "check the model's files"),
    ],
)
def test_logits_that_are_no_numbers_stop_a_run_before_anything_is_stored(
    tmp_path: Path, engine: str, change: Callable[[Weights], None], dtype: str, said: str
) -> None:
    model = changed(tmp_path / "model", change)
    message = run_into_failure(plan(model, tmp_path / "run", engine, dtype=dtype))
    assert "logits are not finite" in message
    assert said in message
    assert stored(tmp_path / "run") == {}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_nan_that_comes_later_stops_the_run_and_what_is_stored_is_healthy(tmp_path: Path, engine: str) -> None:
    """A token that only completions hold has a NaN embedding: prompts are healthy, what follows that token is not."""
    healthy = plan(changed(tmp_path / "healthy", lambda weights: None), tmp_path / "good", engine)
    run(healthy, lambda progress: None)
    good = stored(tmp_path / "good")
    assert len(good) == 12
    in_prompts = {token for prompt in healthy.tasks[0].prompts for token in prompt.token_ids}
    late = next(token for ids in good.values() for token in ids[3:] if token not in in_prompts and token not in ids[:3])

    def late_nan(weights: Weights) -> None:
        weights["model.embed_tokens.weight"][late] = float("nan")

    message = run_into_failure(plan(changed(tmp_path / "model", late_nan), tmp_path / "run", engine))
    assert "logits are not finite" in message
    assert all(good[key] == ids and late not in ids[:-1] for key, ids in stored(tmp_path / "run").items())


def test_one_token_for_every_problem_stops_the_run(tmp_path: Path) -> None:
    """Finite logits that are highest at one token, whatever was asked."""

    def one_token(weights: Weights) -> None:
        weights["model.norm.weight"].zero_()

    protocol = (Path(__file__).parents[3] / "tasks" / "protocols" / "quickstart.toml").read_text()
    (tmp_path / "greedy.toml").write_text(protocol.replace("temperature = 1.0", "temperature = 0.0"))
    text = (tmp_path / "greedy.toml").read_text().replace("samples = 8", "samples = 1")
    (tmp_path / "greedy.toml").write_text(text)
    model = changed(tmp_path / "model", one_token)
    options = EvalOptions(
        model=str(model),
        tasks=("arithmetic",),
        protocol=str(tmp_path / "greedy.toml"),
        limit=MIN_REPEATS + 4,
        out=tmp_path / "run",
        engine="hf",
    )
    assert "are token 0 from the first token to the cap" in run_into_failure(prepare(options))
    assert stored(tmp_path / "run") == {}


def sample(index: int, ids: list[int], finish_reason: FinishReason = "length") -> Sample:
    return Sample(SampleKey("task", str(index), 0), 0, "", tuple(ids), finish_reason, 1)


REPEATED = [0] * MIN_TOKENS


def collect(batches: Iterable[list[Sample]], found: list[Sample]) -> None:
    for samples in batches:
        found += samples


def test_a_few_repeated_samples_are_data_and_are_stored() -> None:
    """As long as another sample follows, or the run ends; none is lost, and none comes twice."""
    loops = [sample(index, REPEATED) for index in range(MIN_REPEATS - 1)]
    others = [sample(100, [*REPEATED, 1]), sample(101, REPEATED, "stop"), sample(102, [0]), sample(103, [])]
    batches = [[one] for other in others for one in (*loops, other)] + [loops]
    passed = [one for samples in withhold_repeats(batches, dtype="float32") for one in samples]
    assert passed == [one for samples in batches for one in samples]


def test_repeated_samples_of_small_batches_add_up_and_are_withheld() -> None:
    first = sample(0, [1, 2])
    repeats = [[sample(index, REPEATED)] for index in range(9)]
    passed: list[Sample] = []
    with pytest.raises(RunFailed, match="token 0 from the first"):
        collect(withhold_repeats([[first], *repeats], dtype="float32"), passed)
    assert passed == [first]


def test_one_problem_is_not_enough_to_stop_a_run() -> None:
    """Greedy copies, or one question that the model answers with a loop."""
    copies = [replace(sample(0, REPEATED), key=SampleKey("task", "0", index)) for index in range(40)]
    assert list(withhold_repeats([copies], dtype="float32")) == [copies]


def test_requests_that_vllm_gives_up_are_no_samples(monkeypatch: pytest.MonkeyPatch, vllm_engine: Engine) -> None:
    """An injected fault: vLLM ends one of two requests as an error."""
    chosen = plan(builtin_model_dir("tiny"), Path("unused"), "vllm")
    requests = list(chosen.tasks[0].requests(iter([SampleKey(*p.key, 0) for p in chosen.tasks[0].problems]), 0))
    engine: Any = vllm_engine
    step = engine.llm.llm_engine.step
    spoiled = "\x1f".join(map(str, requests[2].key))

    def spoil() -> Any:
        outputs = step()
        for output in outputs:
            if output.request_id == spoiled:
                output.outputs[0].finish_reason = "error"
        return outputs

    monkeypatch.setattr(engine.llm.llm_engine, "step", spoil)
    found: list[Sample] = []
    with pytest.raises(RunFailed, match="1 with 'error'"):
        collect(engine.generate(requests), found)
    assert {one.key for one in found} == {request.key for request in requests} - {requests[2].key}
