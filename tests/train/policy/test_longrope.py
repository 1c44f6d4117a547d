"""A longrope model is trained with the factors that its rollouts are sampled with."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import Phi3Config, Phi3ForCausalLM

from tbrm_bench.engines.base import EngineConfig
from tbrm_bench.engines.positions import use_long_factors
from tbrm_bench.resources import builtin_model_dir
from tbrm_train.policy.policy import Policy, load_model, make_batch
from tbrm_train.rollout.sampling import Continuation, HfRollouts

LIMIT = 192


@pytest.mark.parametrize("max_model_len", [LIMIT, LIMIT + 1])
def test_trainer_and_rollouts_agree_on_a_short_sequence_in_both_regimes(tmp_path: Path, max_model_len: int) -> None:
    torch.manual_seed(0)
    config = Phi3Config(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
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
            "short_factor": [1.0] * 16,
            "long_factor": [8.0] * 16,
        },
    )
    Phi3ForCausalLM(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(builtin_model_dir("tiny") / name, tmp_path / name)
    prompt, response = tuple(range(3, 23)), tuple(range(23, 43))
    model = load_model(tmp_path, dtype="float32", gradient_checkpointing=False)
    if max_model_len > LIMIT:
        use_long_factors(model)
    with torch.no_grad():
        ours = Policy(model, temperature=1.0)(make_batch([(prompt, response)], device="cpu"))[0]
    with HfRollouts(EngineConfig(str(tmp_path), max_model_len=max_model_len, dtype="float32")) as rollouts:
        (theirs,) = rollouts.logprobs([Continuation(prompt, response)])
    assert (ours - torch.tensor(theirs)).abs().max() < 1e-4
