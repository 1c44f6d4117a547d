"""verl's own code finds the function by the line of the page, and its reward manager calls it."""

import json
import shlex
from pathlib import Path

import pytest
from own_environment import blocks, own_environment, run_in

pytestmark = pytest.mark.slow

SCRIPT = r"""
import asyncio, json, sys
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
from verl.trainer.ppo.reward import get_custom_reward_fn

class Letters:
    def decode(self, ids, skip_special_tokens=True):
        return "".join(map(chr, ids))

def data(text, truth):
    ids = torch.tensor([[ord(char) for char in text]])
    batch = TensorDict({"prompts": ids[:, :0], "responses": ids, "attention_mask": torch.ones_like(ids)}, [1])
    rows = {"data_source": ["maths"], "reward_model": [{"ground_truth": truth}], "extra_info": [{}]}
    return DataProto.from_dict({key: batch[key] for key in batch.keys()}, non_tensors={
        key: __import__("numpy").array(value, dtype=object) for key, value in rows.items()})

def scores(overrides):
    empty = OmegaConf.create({"reward": {"custom_reward_function": {}}})
    config = OmegaConf.merge(empty, OmegaConf.from_dotlist(overrides))
    pairs = [(r"so \boxed{\sqrt{12}}", r"2\sqrt3"), (r"\boxed{7}", "8"), ("The answer is 7", "7")]
    async def run():
        manager = NaiveRewardManager(config, Letters(), get_custom_reward_fn(config))
        return [await manager.run_single(data(*pair)) for pair in pairs]
    return asyncio.run(run())

given = json.loads(sys.argv[1])
prefix = "reward.custom_reward_function."
print("RESULT", json.dumps([
    [one["reward_score"] for one in scores(given)],
    [one["reward_score"] for one in scores([*given, prefix + "reward_kwargs.strict_boxed=false"])],
    [one["reward_extra_info"] for one in scores([*given, prefix + "name=compute_score_and_verdict"])],
    __import__("hydra").__version__,
]))
"""


def test_its_reward_manager_calls_the_function_of_the_page(tmp_path: Path) -> None:
    (line,) = blocks("grading-elsewhere.md", "verl", "sh")
    overrides = [word for word in shlex.split(line) if "=" in word]
    with own_environment(tmp_path, ["verl==0.9.1"], with_torch=True) as python:
        said = run_in(python, "-c", SCRIPT, json.dumps(overrides), folder=tmp_path)
    strict, loose, logged, hydra = json.loads(said.rpartition("RESULT ")[2])
    assert strict == [1.0, 0.0, 0.0]
    assert loose == [1.0, 0.0, 1.0]
    assert logged[0] == {"score": 1.0, "acc": 1.0, "pred": r"\sqrt{12}", "grader_error": 0.0}
    assert hydra >= "1.3"
