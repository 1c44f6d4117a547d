"""The trainer's log-probabilities are those of the model's own logits, or the model is refused by name."""

from typing import Any

import pytest
import torch

from tbrm_bench.errors import UserError
from tbrm_train.policy.logprobs import HeadForm
from tbrm_train.policy.policy import Policy, make_batch

torch.set_num_threads(1)
SHAPE = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
SHAPE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0}


def make_model(family: str, dtype: torch.dtype, **config: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**SHAPE, **config}), dtype=torch.float32)
    with torch.no_grad():
        for entry in model.parameters():
            entry.add_(0.3 * torch.randn(entry.shape))
    return model.to(dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("family", "config", "form"),
    [
        ("qwen2", {}, HeadForm()),
        ("gemma2", {"head_dim": 8, "final_logit_softcapping": 2.0}, HeadForm(softcap=2.0)),
        ("cohere", {"logit_scale": 0.0625}, HeadForm(scale=0.0625)),
        ("granite", {"logits_scaling": 8.0}, HeadForm(scale=0.125)),  # it divides
        ("hyperclovax", {"logits_scaling": 0.25}, HeadForm(scale=0.25)),  # it multiplies
        ("phi", {}, HeadForm()),  # its head has a bias
    ],
)
def test_log_probabilities_are_those_of_the_models_logits(
    family: str, config: dict[str, Any], form: HeadForm, dtype: torch.dtype
) -> None:
    model = make_model(family, dtype, **config)
    policy, batch = Policy(model, temperature=0.5), make_batch([((5, 6), tuple(range(7, 40)))], device="cpu")
    assert policy.form == form
    with torch.no_grad():
        logits = model(input_ids=batch.input_ids, use_cache=False).logits[0, 1:-1].float() / 0.5
        theirs = logits.log_softmax(dim=-1).gather(1, batch.targets[:, None])[:, 0]
        off = (policy(batch).logprobs - theirs).abs()
    assert float(off.max()) < (1e-5 if dtype == torch.float32 else 0.1), "logits of the model are rounded"
    assert float(theirs.std()) > 0.2, "the logits differ"


def test_another_head_is_refused_by_name() -> None:
    model = make_model("recurrent_gemma", torch.float32, lru_width=32)
    model.config.logits_soft_cap = 0.1
    with pytest.raises(UserError, match="RecurrentGemmaForCausalLM cannot be trained: its logits are not the product"):
        Policy(model, temperature=1.0)
