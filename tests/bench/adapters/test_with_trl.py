"""A real GRPOTrainer takes the function of the page: a step of training on the bundled model."""

import json
from pathlib import Path

import pytest
from own_environment import blocks, own_environment, run_in

pytestmark = pytest.mark.slow

SCRIPT = r"""
import json, sys
from datasets import Dataset
from tbrm_bench.adapters.trl import tbrm_reward
from tbrm_bench.resources import builtin_model_dir

MODEL = str(builtin_model_dir("tiny"))
question = "What is 1 + 1?"
prompt = [{"role": "user", "content": question}] if sys.argv[2] == "messages" else question
DATASET = Dataset.from_list([{"prompt": prompt, "answer": answer} for answer in ("2", None)] * 4)
SETTINGS = dict(output_dir="out", max_steps=2, per_device_train_batch_size=4, num_generations=2, report_to="none",
    max_completion_length=8, logging_steps=1, use_cpu=True, bf16=False, save_strategy="no", disable_tqdm=True)
seen = []

def spy(**given):
    seen.append(tbrm_reward(**given))
    return seen[-1]

exec(sys.argv[1])
reward_as_named = trainer.reward_func_names
trainer.reward_funcs = [spy]
trainer.train()
right = tbrm_reward(prompts=[prompt], completions=[[{"role": "assistant", "content": r"\boxed{2}"}]], answer=["2"])
print("RESULT", json.dumps([reward_as_named, [list(map(str, rewards)) for rewards in seen], right,
    sorted({key for row in trainer.state.log_history for key in row if "reward" in key})]))
"""


@pytest.mark.parametrize("form", ["messages", "text"])
def test_a_trainer_of_trl_learns_from_it(tmp_path: Path, form: str) -> None:
    (block,) = blocks("grading-elsewhere.md", "TRL", "python")
    with own_environment(tmp_path, ["trl==1.16.0"], with_torch=True) as python:
        said = run_in(python, "-c", SCRIPT, block, form, folder=tmp_path, HF_HUB_OFFLINE="1")
    names, seen, right, logged = json.loads(said.rpartition("RESULT ")[2])
    assert names == ["tbrm_reward"]
    assert right == [1.0]
    assert {reward for rewards in seen for reward in rewards} <= {"0.0", "1.0", "None"}
    assert any("None" in rewards for rewards in seen), "rows without a gold are left out"
    assert "rewards/tbrm_reward/mean" in logged
