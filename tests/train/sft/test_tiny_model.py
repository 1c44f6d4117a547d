"""The bundled model: what it scores, and that the shipped recipe makes it."""

import hashlib
import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.engines.base import Engine
from tbrm_bench.grading import grade
from tbrm_bench.metrics.passk import mean_pass_at_k
from tbrm_bench.prompts.protocol import load_protocol
from tbrm_bench.prompts.render import load_tokenizer, render_prompts, stop_token_ids
from tbrm_bench.records import Problem, SampleKey, SampleRequest, Sampling, Status
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.seeds import sample_seed
from tbrm_bench.tasks.problems import load_problems
from tbrm_bench.tasks.spec import load_task
from tbrm_train.recipes.sft_recipe import SftRecipe, load_recipe
from tbrm_train.sft.supervised import build_model, train, train_recipe_tokenizer

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "train" / "recipes" / "tiny-sft.toml"
BUNDLED = builtin_model_dir("tiny")
NUM_SAMPLES = 8


@pytest.fixture(scope="module")
def recipe() -> SftRecipe:
    return load_recipe(TINY)


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return load_problems(load_task("arithmetic"))


def requests(problems: list[Problem], recipe: SftRecipe) -> list[SampleRequest]:
    """Return what `tbench eval builtin:tiny` generates."""
    protocol, tokenizer = load_protocol(recipe.protocol), load_tokenizer(BUNDLED)
    drawn = protocol.sampling("arithmetic")
    stops = stop_token_ids(tokenizer, BUNDLED, protocol)
    sampling = Sampling(drawn.temperature, drawn.top_p, drawn.max_tokens, protocol.stop_strings, stops)
    return [
        SampleRequest(key, prompt.token_ids, sampling, sample_seed(protocol.seed, key))
        for prompt in render_prompts(problems, protocol, tokenizer)
        for key in (SampleKey(*prompt.key, index) for index in range(NUM_SAMPLES))
    ]


def test_it_is_right_about_half_the_time_and_more_samples_help(
    vllm_engine: Engine, problems: list[Problem], recipe: SftRecipe
) -> None:
    """Who tries the bench on it sees scores that are neither 0 nor 1, and pass@8 well above the average."""
    golds = {problem.key: problem.gold for problem in problems}
    correct, answered, num_samples = Counter[tuple[str, str]](), 0, 0
    for samples in vllm_engine.generate(requests(problems, recipe)):
        for sample in samples:
            key = (sample.key.task, sample.key.problem_id)
            verdict = grade(sample.text, golds[key], finish_reason=sample.finish_reason)  # type: ignore[index]
            correct[key] += verdict.status is Status.CORRECT
            answered += verdict.status in (Status.CORRECT, Status.WRONG)
            num_samples += 1
    assert num_samples == NUM_SAMPLES * len(problems) == 1600
    counts = [correct[problem.key] for problem in problems]
    average, best = (mean_pass_at_k([NUM_SAMPLES] * len(counts), counts, k=k) for k in (1, NUM_SAMPLES))
    assert 0.3 < average < 0.7
    assert best > average + 0.15
    assert answered / num_samples > 0.95, "it ends in a boxed answer"


def test_the_recipe_makes_the_bundled_tokenizer_and_shape(recipe: SftRecipe) -> None:
    """The parts that need no training; the versions of libraries may add keys of their own."""
    tokenizer = train_recipe_tokenizer(recipe)
    made = json.loads(tokenizer.backend_tokenizer.to_str())
    bundled = json.loads((BUNDLED / "tokenizer.json").read_text())
    for part in ("model", "pre_tokenizer", "normalizer", "added_tokens"):
        assert made[part] == bundled[part]
    assert tokenizer.chat_template == (BUNDLED / "chat_template.jinja").read_text()
    model = build_model(recipe.model, tokenizer)
    config = json.loads((BUNDLED / "config.json").read_text())
    for key in set(config) - {"transformers_version", "dtype", "architectures"}:
        assert getattr(model.config, key) == config[key], key
    assert sum(parameter.numel() for parameter in model.parameters()) < 600_000


def test_the_bundled_weights_are_those_whose_scores_the_docs_tell() -> None:
    digest = hashlib.sha256((BUNDLED / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (ROOT / "docs" / "train.md").read_text()


def evaluate(model: Path, run_dir: Path) -> dict[str, Any]:
    """Return the scores of `tbench eval` on the task's 200 problems."""
    command = [sys.executable, "-m", "tbrm_bench", "eval", str(model), "--out", str(run_dir), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    scores: dict[str, Any] = json.loads(done.stdout)["tasks"][0]
    assert (scores["num_problems"], scores["num_samples"], scores["num_missing"]) == (200, NUM_SAMPLES, 0)
    return scores


@pytest.mark.slow
def test_the_recipe_makes_the_bundled_model(tmp_path: Path) -> None:
    """The same bytes where processor and libraries do the same arithmetic, elsewhere a model that scores the same."""
    folder = train(load_recipe(TINY, [f"output={tmp_path / 'model'}"]), lambda step, loss: None)
    names = sorted(file.name for file in BUNDLED.iterdir())
    assert sorted(file.name for file in folder.iterdir()) == names
    if all((folder / name).read_bytes() == (BUNDLED / name).read_bytes() for name in names):
        return
    ours, theirs = (evaluate(model, tmp_path / f"run-{model.name}") for model in (folder, BUNDLED))
    for value, error in (("avg", "se"), ("maj", "maj_se")):
        # Four standard errors of independent questions; the questions are the same, so this is wide.
        assert abs(ours[value] - theirs[value]) < 4 * math.hypot(ours[error], theirs[error])
    for k in ours["pass_at"]:
        apart = math.hypot(ours["pass_at_se"][k], theirs["pass_at_se"][k])
        assert abs(ours["pass_at"][k] - theirs["pass_at"][k]) < 4 * apart
