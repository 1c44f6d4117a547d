"""An adapter that does not fit its config or its base is refused by name; one that fits is what PEFT merges.

PEFT writes every adapter here and is the judge of what merges; the misfits are its own files with one thing changed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints.common import randomize, save_source, tiny_qwen2
from safetensors.torch import load_file, save_file

from tbrm_bench.errors import UserError
from tbrm_bench.merge import MergeReport, merge

peft = pytest.importorskip("peft")
TOKENS = torch.tensor([[1, 5, 9, 11]])
Q, V = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj"


class Adapter:
    """A base, an adapter of PEFT's for it, and what PEFT's merge_and_unload() makes of both."""

    def __init__(self, folder: Path, *, tied: bool = True, resized: int = 0, model: Any = None, **options: Any) -> None:
        self.base, self.folder, self.out = folder / "base", folder / "adapter", folder / "out"
        model = model if model is not None else tiny_qwen2(dtype="fp32", tied=tied)
        save_source(model, self.base)
        if resized:
            model.resize_token_embeddings(model.config.vocab_size + resized, mean_resizing=False)
        wanted = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
        adapted = peft.get_peft_model(model, peft.LoraConfig(**(wanted | options)))
        randomize_trained(adapted)
        adapted.save_pretrained(self.folder, save_embedding_layers=bool(resized) or "auto")
        with torch.no_grad():
            self.logits = adapted.eval()(input_ids=TOKENS).logits
        self.expected = adapted.merge_and_unload().state_dict()

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "adapter_config.json").read_text())
        return found

    def says(self, **changed: Any) -> "Adapter":
        """Change the config."""
        (self.folder / "adapter_config.json").write_text(json.dumps(self.config | changed))
        return self

    def without(self, part: str) -> "Adapter":
        """Take the tensors out of the file whose names hold a part."""
        file = self.folder / "adapter_model.safetensors"
        tensors = {name: tensor for name, tensor in load_file(file).items() if part not in name}
        save_file(tensors, file, {"format": "pt"})
        return self

    def emptied(self, part: str) -> "Adapter":
        """Leave nothing of the tensors whose names hold a part, as ZeRO-3 does on a rank that gathered nothing."""
        file = self.folder / "adapter_model.safetensors"
        tensors = {name: tensor[:0] if part in name else tensor for name, tensor in load_file(file).items()}
        save_file(tensors, file, {"format": "pt"})
        return self

    def merge(self, **options: Any) -> MergeReport:
        return merge(self.folder, self.out, base=self.base, **options)


def randomize_trained(model: Any) -> None:
    seed = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=seed) * 0.1)


def untied_gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=503, n_embd=40, n_layer=2, n_head=4, n_positions=32))
    randomize(model)
    return model


FITTING: dict[str, Callable[[Path], Adapter]] = {
    "a pattern of ranks": lambda folder: Adapter(folder, rank_pattern={"layers.1.self_attn.q_proj": 2}),
    "rank and alpha patterns, stabilised": lambda folder: Adapter(
        folder, rank_pattern={"v_proj": 7}, alpha_pattern={r"layers\.0.*": 3}, use_rslora=True
    ),
    "a regular expression": lambda folder: Adapter(folder, target_modules=r".*layers\.[01]\..*(q_proj|down_proj)"),
    "one layer": lambda folder: Adapter(folder, layers_to_transform=[1]),
    "one layer, as a number, by its pattern": lambda folder: Adapter(
        folder, layers_to_transform=0, layers_pattern="layers"
    ),
    "a layer left out": lambda folder: Adapter(folder, exclude_modules=["layers.0.self_attn.q_proj"]),
    "layers left out by an expression": lambda folder: Adapter(folder, exclude_modules=r".*\.1\..*q_proj"),
    "names that no module has": lambda folder: Adapter(folder, target_modules=["q_proj", "c_attn", "query"]),
    "all linear": lambda folder: Adapter(folder, target_modules="all-linear"),
    "trained biases": lambda folder: Adapter(folder, bias="all"),
    "biases of its modules": lambda folder: Adapter(folder, bias="lora_only"),
    "an untied head, saved": lambda folder: Adapter(folder, tied=False, modules_to_save=["lm_head"]),
    "embedding and head, saved": lambda folder: Adapter(
        folder, tied=False, modules_to_save=["lm_head", "embed_tokens"]
    ),
    "an untied embedding": lambda folder: Adapter(folder, tied=False, target_modules=["embed_tokens", "q_proj"]),
    "a saved tied embedding whose head follows": lambda folder: Adapter(
        folder, modules_to_save=["embed_tokens"], ensure_weight_tying=True
    ),
    "fan_in_fan_out on linear layers": lambda folder: Adapter(folder, target_modules=["o_proj"]).says(
        fan_in_fan_out=True
    ),
    "GPT-2 that does not say fan_in_fan_out": lambda folder: Adapter(
        folder, model=untied_gpt2(), target_modules=["c_proj"], fan_in_fan_out=True
    ).says(fan_in_fan_out=False),
}


@pytest.mark.parametrize("name", FITTING)
def test_what_fits_is_what_peft_merges(name: str, tmp_path: Path) -> None:
    adapter = FITTING[name](tmp_path)
    adapter.merge()
    merged = load_file(adapter.out / "model.safetensors")
    assert merged.keys() <= adapter.expected.keys()
    for key, tensor in merged.items():
        torch.testing.assert_close(tensor, adapter.expected[key], rtol=1e-5, atol=1e-6, msg=key)


def test_a_tied_embedding_whose_head_follows_is_what_was_trained(tmp_path: Path) -> None:
    """PEFT's merge_and_unload() is no judge here: 0.21 adds the update to the one tensor twice."""
    from transformers import AutoModelForCausalLM

    adapter = Adapter(tmp_path, target_modules=["embed_tokens", "q_proj"], ensure_weight_tying=True)
    adapter.merge()
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(adapter.out)(input_ids=TOKENS).logits
    torch.testing.assert_close(logits, adapter.logits, rtol=1e-5, atol=1e-5)


MISFITS: dict[str, tuple[Callable[[Path], Adapter], tuple[str, ...]]] = {
    "another rank": (lambda folder: Adapter(folder).says(r=8), ("rank 8", "4 rows")),
    "another rank, stabilised": (lambda folder: Adapter(folder, use_rslora=True).says(r=16), ("rank 16", "4 rows")),
    "a pattern that was lost": (
        lambda folder: Adapter(folder, rank_pattern={"v_proj": 2}).says(rank_pattern={}),
        ("rank 4", "v_proj", "2 rows"),
    ),
    "a pattern that was added": (
        lambda folder: Adapter(folder).says(rank_pattern={"q_proj": 2}),
        ("rank 2", "q_proj", "4 rows"),
    ),
    "a target without weights": (
        lambda folder: Adapter(folder).says(target_modules=["q_proj", "v_proj", "up_proj"]),
        ("up_proj", "no weights"),
    ),
    "a layer without weights": (lambda folder: Adapter(folder).without(V), (V, "no weights")),
    "an expression's target without weights": (
        lambda folder: Adapter(folder).says(target_modules=r".*\.(q_proj|v_proj|k_proj)"),
        ("k_proj", "no weights"),
    ),
    "weights that are not targeted": (
        lambda folder: Adapter(folder).says(target_modules=["q_proj"]),
        ("v_proj", "does not target"),
    ),
    "weights that are left out": (
        lambda folder: Adapter(folder).says(exclude_modules=[Q]),
        (Q, "does not target", "exclude_modules"),
    ),
    "weights of other layers": (
        lambda folder: Adapter(folder).says(layers_to_transform=[1]),
        (Q, "does not target", "layers_to_transform"),
    ),
    "a saved module that is not there": (
        lambda folder: Adapter(folder, tied=False, modules_to_save=["lm_head"]).without("lm_head"),
        ("lm_head", "modules_to_save"),
    ),
    "a saved head on a tied model": (
        lambda folder: Adapter(folder, modules_to_save=["lm_head"]),
        ("lm_head", "ties", "tie_word_embeddings"),
    ),
    "a saved embedding on a tied model": (
        lambda folder: Adapter(folder, modules_to_save=["embed_tokens"]),
        ("embed_tokens", "ties", "ensure_weight_tying"),
    ),
    "a saved embedding of GPT-2, whose head does not follow": (
        lambda folder: Adapter(
            folder,
            model=untied_gpt2(),
            target_modules=["c_attn"],
            fan_in_fan_out=True,
            modules_to_save=["wte"],
            ensure_weight_tying=True,
        ),
        ("wte", "ties", "tie_word_embeddings"),
    ),
    "embedding and head on a tied model": (
        lambda folder: Adapter(folder, modules_to_save=["embed_tokens", "lm_head"]),
        ("lm_head", "ties", "different values"),
    ),
    "a low-rank embedding on a tied model": (
        lambda folder: Adapter(folder, target_modules=["embed_tokens", "q_proj"]),
        ("embed_tokens", "ties", "ensure_weight_tying"),
    ),
    "a larger vocabulary": (lambda folder: Adapter(folder, resized=8), ("1011", "1003", "resize")),
    "a larger vocabulary, untied": (lambda folder: Adapter(folder, tied=False, resized=8), ("1011", "1003", "resize")),
    "biases of lora_B": (lambda folder: Adapter(folder, lora_bias=True), ("bias",)),
    "shards that were not gathered": (lambda folder: Adapter(folder).emptied(f"{Q}.lora_A"), (Q, "empty")),
    "half a pair": (lambda folder: Adapter(folder).without(f"{Q}.lora_B"), (Q, "lora_A")),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused_by_name(name: str, tmp_path: Path) -> None:
    make, words = MISFITS[name]
    adapter = make(tmp_path)
    with pytest.raises(UserError) as refused:
        adapter.merge()
    assert [word for word in words if word not in str(refused.value)] == [], str(refused.value)
    assert not adapter.out.exists()


def test_verls_file_and_pefts_must_agree(tmp_path: Path) -> None:
    adapter = Adapter(tmp_path)
    meta = adapter.folder / "lora_train_meta.json"
    for key, value in (("r", 8), ("lora_alpha", 16)):
        meta.write_text(json.dumps({"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"} | {key: value}))
        with pytest.raises(UserError, match=rf"lora_train_meta\.json says {key} = {value}"):
            adapter.merge()
    meta.write_text(json.dumps({"r": 0, "lora_alpha": 0, "task_type": "CAUSAL_LM"}))  # verl writes 0 for "not known"
    adapter.merge()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"use_rslora": "false"}, "use_rslora: 'false' is not true or false"),
        ({"lora_alpha": True}, "lora_alpha: true is not a number"),
        ({"lora_alpha": "16"}, "lora_alpha: '16' is not a number"),
        ({"r": 4.5}, r"r: 4\.5 is not a whole number"),
        ({"alpha_pattern": {"q_proj": float("nan")}}, r"alpha_pattern\.q_proj is nan"),
        ({"rank_pattern": {"q_proj": True}}, r"rank_pattern\.q_proj: true is not a whole number"),
    ],
)
def test_a_value_of_another_type_is_not_guessed_at(said: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        Adapter(tmp_path).says(**said).merge()


def test_another_base_is_said(tmp_path: Path) -> None:
    """Its shapes may be equal: nothing else can tell."""
    adapter = Adapter(tmp_path).says(base_model_name_or_path="Qwen/Qwen2.5-1.5B")
    assert any("Qwen/Qwen2.5-1.5B" in warning for warning in adapter.merge().warnings)
