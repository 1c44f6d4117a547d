"""A tokenizer reads and writes text as its tokenizer.json does, whichever class its folder names, in every process."""

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, trainers
from transformers import AutoConfig, AutoTokenizer

from tbrm_bench.engines.base import EngineConfig
from tbrm_bench.engines.hf import HfEngine
from tbrm_bench.engines.vllm import VllmEngine
from tbrm_bench.errors import UserError
from tbrm_bench.prompts.tokenizer import PROBES, check_engine_tokenizer, open_tokenizer
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.tasks.generators.arithmetic import training_pairs

TINY = builtin_model_dir("tiny")
OWN_PROBES = (
    "What is 3 + 4?", " a  b\n\n c\t d \r\n", "   12345  678", "$\\frac{1}{2}$ and \\boxed{-3}", "漢字とかな",
    "👍🏽 e\u0301", "a\u00a0b", "Let $x$ be", "x , y . z", "\n\n\n" + " " * 9 + "end",
)  # fmt: skip


def edited(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; `...` removes one."""
    values = (json.loads(path.read_text()) if path.is_file() else {}) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bundled model, whose files a test may change."""
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def read(folder: Path) -> Any:
    file = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    file.no_truncation()
    file.no_padding()
    return file


def assert_follows(tokenizer: Any, file: Any, texts: Iterable[str] = (*OWN_PROBES, *PROBES)) -> None:
    for text in texts:
        ids = file.encode(text, add_special_tokens=False).ids
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids
        for part in (ids, *([token] for token in ids)):
            assert tokenizer.decode(part) == file.decode(part, skip_special_tokens=False)


def named(folder: Path, label: str, model_type: str) -> Path:
    edited(folder / "tokenizer_config.json", tokenizer_class=label)
    edited(folder / "config.json", model_type=model_type)
    return folder


@pytest.mark.parametrize(
    ("label", "model_type"),
    [
        ("LlamaTokenizerFast", "llama"),
        ("LlamaTokenizer", "llama"),
        ("GemmaTokenizerFast", "gemma2"),
        ("LlamaTokenizerFast", "qwen2"),
        ("Qwen2TokenizerFast", "qwen2"),
        ("T5TokenizerFast", "t5"),
    ],
)
def test_a_class_that_does_not_follow_the_file_is_replaced_and_named(folder: Path, label: str, model_type: str) -> None:
    loaded = open_tokenizer(named(folder, label, model_type))
    assert_follows(loaded.tokenizer, read(folder))
    (warning,) = loaded.warnings
    assert label.removesuffix("Fast") in warning
    assert "PreTrainedTokenizerFast is used" in warning
    assert loaded.tokenizer.chat_template == (TINY / "chat_template.jinja").read_text()
    assert loaded.tokenizer.eos_token == "<|im_end|>"


@pytest.mark.parametrize("label", ["PreTrainedTokenizerFast", "TokenizersBackend"])
@pytest.mark.parametrize("model_type", ["qwen2", "llama", "mistral", "phi3", "not-known"])
def test_the_plain_class_needs_no_word(folder: Path, label: str, model_type: str) -> None:
    loaded = open_tokenizer(named(folder, label, model_type))
    assert_follows(loaded.tokenizer, read(folder))
    assert not loaded.warnings


def llama_like(folder: Path) -> None:
    """Write what Llama 2 has: characters with bytes to fall back on, a mark for spaces."""
    core = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.pre_tokenizer = None
    texts = [question for question, _ in zip(training_pairs(0), range(50), strict=False)]
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    core.train_from_iterator((question for question, _ in texts), trainer)
    made = json.loads(core.to_str())
    made["added_tokens"] = made["added_tokens"][:3]
    (folder / "tokenizer.json").write_text(json.dumps(made))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "legacy": True})
    )
    edited(folder / "config.json", model_type="llama")


def test_the_leading_space_of_llama_2_is_read_as_its_file_has_it(folder: Path) -> None:
    llama_like(folder)
    loaded = open_tokenizer(folder)
    assert_follows(loaded.tokenizer, read(folder))
    assert "LlamaTokenizer does not follow" in loaded.warnings[0]


def test_a_class_that_follows_the_file_is_kept(folder: Path) -> None:
    AutoTokenizer.from_pretrained(str(TINY)).save_pretrained(folder)
    loaded = open_tokenizer(folder)
    assert type(loaded.tokenizer).__name__ == "Qwen2Tokenizer"
    assert loaded.is_auto
    assert not loaded.warnings
    assert_follows(loaded.tokenizer, read(folder))


@settings(max_examples=60, deadline=None)
@given(text=st.text())
def test_any_text_is_read_as_the_file_reads_it(mislabelled: tuple[Any, Any], text: str) -> None:
    assert_follows(*mislabelled, [text])


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = Path(shutil.copytree(TINY, tmp_path_factory.mktemp("mislabelled") / "model"))
    return open_tokenizer(named(folder, "LlamaTokenizerFast", "llama")).tokenizer, read(folder)


def test_clean_up_and_settings_of_a_training_change_nothing(folder: Path) -> None:
    edited(folder / "tokenizer_config.json", clean_up_tokenization_spaces=True)
    edited(
        folder / "tokenizer.json",
        truncation={"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
            "pad_token": "<|endoftext|>",
        },
    )  # fmt: skip
    loaded = open_tokenizer(folder)
    assert_follows(loaded.tokenizer, read(folder))
    assert not loaded.warnings


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"add_eos_token": True}, "add_eos_token = true"),
        ({"bos_token": "<|endoftext|>", "add_bos_token": True}, "add_bos_token = true"),
        ({"added_tokens_decoder": {"318": {"content": "<think>", "special": False}}}, "adds tokens .* <think>"),
        ({"added_tokens_decoder": {"900": {"content": "<think>", "special": False}}}, "<think> is 318, not 900"),
        ({"extra_special_tokens": ["<|im_start|>", "<|eot|>"]}, "<\\|eot\\|>"),
    ],
)
def test_what_the_config_asks_for_is_kept_and_listed(folder: Path, asked: dict[str, Any], said: str) -> None:
    edited(folder / "tokenizer_config.json", **asked)
    loaded = open_tokenizer(folder)
    assert_follows(loaded.tokenizer, read(folder))
    assert any(re.search(said, warning) for warning in loaded.warnings), loaded.warnings


def test_a_folder_without_the_file_loads_as_before(folder: Path) -> None:
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(merges))
    named(folder, "GPT2Tokenizer", "gpt2")
    loaded = open_tokenizer(folder)
    assert loaded.is_auto
    assert not loaded.warnings
    assert loaded.tokenizer.decode(loaded.tokenizer("a  b\n", add_special_tokens=False)["input_ids"]) == "a  b\n"


def test_a_file_that_is_no_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Abacus"}}')
    with pytest.raises(UserError, match=r"no tokenizer can be loaded from .*tokenizer\.json"):
        open_tokenizer(folder)


@pytest.mark.parametrize(
    ("label", "model_type"), [("PreTrainedTokenizerFast", "qwen2"), ("LlamaTokenizerFast", "llama")]
)
def test_the_folder_for_an_engine_has_this_tokenizer_and_a_config(folder: Path, label: str, model_type: str) -> None:
    """vLLM asks for a config beside a tokenizer; where there is none it logs an error and waits."""
    loaded = open_tokenizer(named(folder, label, model_type))
    made = loaded.engine_dir()
    assert made is not None
    AutoConfig.from_pretrained(made)
    tokenizer = AutoTokenizer.from_pretrained(made)
    assert_follows(tokenizer, read(folder))
    assert type(tokenizer) is type(loaded.tokenizer)


def test_vllm_has_the_same_tokenizer(vllm_engine: VllmEngine) -> None:
    """Of the bundled model's folder AutoTokenizer makes a Qwen2Tokenizer, which composes characters first."""
    assert vllm_engine.llm is not None
    assert_follows(vllm_engine.llm.get_tokenizer(), read(TINY))


def test_transformers_has_the_same_tokenizer(folder: Path) -> None:
    named(folder, "LlamaTokenizerFast", "qwen2")
    edited(folder / "tokenizer_config.json", clean_up_tokenization_spaces=True)
    with HfEngine(EngineConfig(str(folder), max_model_len=64)) as engine:
        assert_follows(engine.tokenizer, read(folder))


def test_an_engine_with_another_tokenizer_is_refused(folder: Path) -> None:
    other = AutoTokenizer.from_pretrained(str(named(folder, "LlamaTokenizerFast", "llama")))
    with pytest.raises(UserError, match=r"vllm 1 .*LlamaTokenizer.*tokenizer\.json.*What is 3"):
        check_engine_tokenizer(other, folder, engine="vllm 1")
