"""Models whose positions depend on the longest sequence: a task's samples do not depend on the tasks beside it."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Phi3Config, Phi3ForCausalLM

from tbrm_bench.engines.base import EngineConfig
from tbrm_bench.engines.hf import HfEngine
from tbrm_bench.engines.positions import EnginePerTask, position_limit
from tbrm_bench.records import SampleKey, SampleRequest, Sampling
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.run.plan import EvalOptions, Plan, TaskPlan
from tbrm_bench.run.prepare import _lock_task, _make_engine, prepare

# Two engines, of which each test loads its own.
ENGINES = [pytest.param("vllm", marks=pytest.mark.own_process), "hf"]
FACTORS = 16
LIMIT = 192


@pytest.fixture(scope="module")
def phi3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Phi-3 of random weights, whose long factors are far from its short ones."""
    folder = tmp_path_factory.mktemp("phi3")
    torch.manual_seed(0)
    config = Phi3Config(
        vocab_size=318,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        original_max_position_embeddings=LIMIT,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
        initializer_range=0.2,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * FACTORS,
            "long_factor": [4.0 + index for index in range(FACTORS)],
        },
    )
    Phi3ForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(builtin_model_dir("tiny") / name, folder / name)
    return folder


def planned(model: Path, engine: str, **changes: Any) -> Plan:
    options = EvalOptions(
        model=str(model), tasks=("arithmetic",), protocol="quickstart", samples=1, limit=3, out=Path("unused")
    )
    return prepare(replace(options, engine=engine, **changes))


def tokens(plan: Plan, tasks: list[TaskPlan], engine: str) -> dict[SampleKey, tuple[int, ...]]:
    """What a run of these tasks generates."""
    options = EvalOptions(model="", tasks=(), protocol="", engine=engine)

    def requests() -> Iterator[SampleRequest]:
        for task in tasks:
            keys = (SampleKey(task.name, problem.key.problem_id, 0) for problem in task.problems)
            yield from task.requests(keys, plan.seed)

    with _make_engine(plan.model, tasks, options) as made:
        return {sample.key: sample.token_ids for samples in made.generate(requests()) for sample in samples}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_task_has_the_same_samples_alone_and_beside_a_longer_one(phi3: Path, engine: str) -> None:
    plan = planned(phi3, engine, max_tokens=60)
    (short,) = plan.tasks
    longer = replace(planned(phi3, engine, max_tokens=200).tasks[0], name="longer")
    assert (short.positions, longer.positions) == (f"up to {LIMIT}", f"beyond {LIMIT}")
    together = tokens(plan, [short, longer], engine)
    alone = tokens(plan, [short], engine)
    assert alone == {key: together[key] for key in alone}
    assert {key.task for key in together} == {"arithmetic", "longer"}


@pytest.mark.own_process
def test_both_engines_compute_with_the_same_factors_across_the_limit(phi3: Path) -> None:
    found = []
    for engine in ("vllm", "hf"):
        plan = planned(phi3, engine, max_tokens=200)
        greedy = replace(plan.tasks[0].sampling, temperature=0.0)
        found.append(tokens(plan, [replace(plan.tasks[0], sampling=greedy)], engine))
    assert found[0] == found[1]
    assert any(len(ids) > LIMIT - 60 for ids in found[0].values())


def test_transformers_gives_a_long_row_and_its_short_neighbour_what_each_gets_alone(phi3: Path) -> None:
    sampling = Sampling(0.0, 1.0, 120, (), ())
    requests = [
        SampleRequest(SampleKey("task", str(length), 0), tuple(range(3, 3 + length)), sampling, length)
        for length in (20, 100, 170)
    ]
    with HfEngine(EngineConfig(str(phi3), max_model_len=290)) as engine:
        together = {sample.key: sample.token_ids for sample in next(engine.generate(requests))}
        for request in requests:
            (alone,) = next(engine.generate([request]))
            assert alone.token_ids == together[request.key]
        # In one pass over the whole of it, which knows no other regime than that of its full length.
        prompt, found = requests[2].prompt_token_ids, together[requests[2].key]
        with torch.inference_mode():
            logits = engine.model(input_ids=torch.tensor([[*prompt, *found]]), use_cache=False).logits[0]
        assert logits[len(prompt) - 1 : -1].argmax(dim=-1).tolist() == list(found)


def test_the_regime_is_the_whole_tasks_and_is_in_its_lock(phi3: Path) -> None:
    whole = planned(phi3, "hf", limit=None).tasks[0]
    longest = max(len(prompt.token_ids) for prompt in whole.prompts)
    cap = LIMIT - longest
    for limit in (1, None):
        for max_tokens, positions in ((cap, f"up to {LIMIT}"), (cap + 1, f"beyond {LIMIT}")):
            task = planned(phi3, "hf", limit=limit, max_tokens=max_tokens).tasks[0]
            assert _lock_task(task)["positions"] == positions


def test_a_limited_task_beyond_the_limit_has_an_engine_beyond_it(phi3: Path) -> None:
    whole = planned(phi3, "hf", limit=None).tasks[0]
    longest = max(len(prompt.token_ids) for prompt in whole.prompts)
    shortest = min(range(len(whole.prompts)), key=lambda index: len(whole.prompts[index].token_ids))
    task = replace(whole, problems=[whole.problems[shortest]], prompts=[whole.prompts[shortest]])
    cap = LIMIT - longest + 1
    task = replace(task, sampling=replace(task.sampling, max_tokens=cap), positions=f"beyond {LIMIT}")
    assert task.longest <= LIMIT
    engine = _make_engine(planned(phi3, "hf").model, [task], EvalOptions("", (), "", engine="hf"))
    assert isinstance(engine, HfEngine)
    assert engine.config.max_model_len == LIMIT + 1


def test_other_models_have_one_engine_and_the_lock_that_they_had() -> None:
    plan = planned(builtin_model_dir("tiny"), "hf")
    assert not isinstance(plan.engine, EnginePerTask)
    assert "positions" not in plan.lock["tasks"]["arithmetic"]


LONG = {"short_factor": [1.0], "long_factor": [2.0]}


@pytest.mark.parametrize(
    ("config", "limits"),
    [
        # as published: Phi-3-mini-128k (first and today's), Phi-3.5-mini, Phi-4-mini, Phi-3.5-MoE, MiniCPM4
        (
            {"model_type": "phi3", "original_max_position_embeddings": 4096, "rope_scaling": {"type": "su", **LONG}},
            4096,
        ),
        ({"model_type": "phi3", "rope_scaling": {"type": "yarn", **LONG}}, 4096),
        ({"model_type": "phi3", "rope_parameters": {"rope_type": "longrope", **LONG}}, 4096),
        (
            {
                "model_type": "phimoe",
                "rope_scaling": {"type": "longrope", **LONG, "original_max_position_embeddings": 4096},
            },
            4096,
        ),
        ({"model_type": "minicpm", "rope_scaling": {"rope_type": "longrope", **LONG}}, None),
        # Phi-3-mini-4k, Qwen2.5 with YaRN, Llama 3.1, InternLM 2.5
        ({"model_type": "phi3", "original_max_position_embeddings": 4096, "rope_scaling": None}, None),
        ({"model_type": "qwen2", "rope_scaling": {"type": "yarn", "original_max_position_embeddings": 32768}}, None),
        ({"model_type": "llama", "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, None),
        ({"model_type": "internlm2", "rope_scaling": {"type": "dynamic", "factor": 2.0}}, None),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_which_configs_have_a_limit(config: dict[str, Any], limits: int | None, is_nested: bool) -> None:
    text = {"max_position_embeddings": 131072, **config}
    whole = {"model_type": "outer", "text_config": text} if is_nested else text
    for engine in ("vllm", "hf"):
        assert position_limit(whole, engine) == limits


def test_the_attention_temperature_of_llama_4_is_vllms_alone() -> None:
    config = {"model_type": "llama4", "text_config": {"model_type": "llama4_text", "max_position_embeddings": 10485760}}
    assert position_limit(config, "vllm") == 32768
    assert position_limit(config, "hf") is None
