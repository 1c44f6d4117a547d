"""The tiny model's tokenizer: lossless, one token a digit, ChatML to the letter, no BOS."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.prompts.render import load_tokenizer
from tbrm_bench.prompts.tokenizer import open_tokenizer
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.tasks.generators.arithmetic import training_pairs
from tbrm_train.recipes.sft_recipe import NUM_BASE_TOKENS
from tbrm_train.sft.bpe import PAD, TURN_END, TURN_START, train_tokenizer

Runs = Any  # of conftest.py
SPECIAL = (PAD, TURN_START, TURN_END)
# Any text but lone surrogates, which no UTF-8 file holds; special tokens' own names among it.
texts = st.lists(st.one_of(st.text(), st.sampled_from(SPECIAL), st.text("0123456789 \n\t"))).map("".join)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text()}),
    min_size=1,
    max_size=4,
)


def training_texts(count: int) -> list[str]:
    return [f"{question}\n{solution}" for question, solution in itertools.islice(training_pairs(0), count)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(training_texts(200), vocab_size=320)


def encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(encode(tokenizer, text), skip_special_tokens=False) == text


@settings(deadline=None)
@given(text=st.text())
def test_skipping_special_tokens_leaves_out_them_alone(tokenizer: Any, text: str) -> None:
    if any(name in text for name in SPECIAL):
        return
    ids = encode(tokenizer, f"{TURN_START}{text}{TURN_END}")
    assert ids[0] != ids[-1]
    assert not set(ids[1:-1]) & set(tokenizer.convert_tokens_to_ids(list(SPECIAL)))
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_no_token_holds_a_digit_and_anything_else(tokenizer: Any) -> None:
    with_digits = [token for token in tokenizer.get_vocab() if any(char in "0123456789" for char in token)]
    assert sorted(with_digits) == list("0123456789")


@settings(deadline=None)
@given(number=st.integers(0, 10**30))
def test_a_number_is_as_many_tokens_as_digits(tokenizer: Any, number: int) -> None:
    assert [tokenizer.decode([token]) for token in encode(tokenizer, str(number))] == list(str(number))


def test_the_vocabulary_is_special_tokens_bytes_and_merges(tokenizer: Any) -> None:
    assert [tokenizer.convert_tokens_to_ids(name) for name in SPECIAL] == [0, 1, 2]
    assert NUM_BASE_TOKENS < len(tokenizer) <= 320
    assert len(train_tokenizer(training_texts(200), vocab_size=NUM_BASE_TOKENS)) == NUM_BASE_TOKENS
    # Every byte is a token, so nothing is ever unknown.
    assert all(len(encode(tokenizer, chr(code))) >= 1 for code in range(256))
    assert tokenizer.unk_token_id is None
    phrase = "What is "
    assert len(encode(tokenizer, phrase)) < len(phrase), "merges shorten frequent phrases"


def test_there_is_no_bos_and_the_end_of_turn_is_eos(tokenizer: Any) -> None:
    assert tokenizer.bos_token_id is None
    assert (tokenizer.eos_token, tokenizer.pad_token) == (TURN_END, PAD)
    text = "What is 1 + 1?"
    assert list(tokenizer(text, add_special_tokens=True)["input_ids"]) == encode(tokenizer, text)


@settings(deadline=None)
@given(conversation=messages, open_turn=st.booleans())
def test_the_chat_template_is_chatml(tokenizer: Any, conversation: list[dict[str, str]], open_turn: bool) -> None:
    turns = [f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in conversation]
    expected = "".join(turns) + ("<|im_start|>assistant\n" if open_turn else "")
    rendered = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=open_turn)
    assert rendered == expected


def test_the_same_texts_make_the_same_tokenizer_and_saving_keeps_it(tokenizer: Any, tmp_path: Path) -> None:
    again = train_tokenizer(training_texts(200), vocab_size=320)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    text = f"{TURN_START}user\nWhat is 24 + 7 * 8? élan \N{SNOWMAN}{TURN_END}\n"
    assert encode(loaded, text) == encode(tokenizer, text)
    assert (loaded.eos_token, loaded.pad_token, loaded.bos_token) == (TURN_END, PAD, None)
    assert loaded.chat_template == tokenizer.chat_template


def test_a_training_says_what_it_reads_and_stops_at_and_its_checkpoint_needs_no_word(
    runs: Runs, tmp_path: Path
) -> None:
    """A model whose folder names the wrong class, and an EOS that no turn ends with."""
    model = Path(shutil.copytree(builtin_model_dir("tiny"), tmp_path / "model"))
    for name, change in (
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizerFast", "eos_token": PAD}),
        ("config.json", {"eos_token_id": 0}),
        ("generation_config.json", {"eos_token_id": 0}),
    ):
        path = model / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    metrics = {}
    for name, source in (("unchanged", "builtin:tiny"), ("changed", str(model))):
        output = tmp_path / name
        done = runs.train("tiny-grpo", f"model={source}", f"output={output}", "optimizer.steps=1")
        assert done.codes == [0], done.err
        metrics[name] = json.loads((output / "metrics.jsonl").read_text().splitlines()[-1])
    assert "LlamaTokenizerFast" in done.err
    assert f"ends an answer with {TURN_END}" in done.err
    (checkpoint,) = (tmp_path / "changed" / "checkpoints").glob("step-*")
    loaded, original = open_tokenizer(checkpoint), open_tokenizer(model)
    assert not loaded.warnings
    text = f"{TURN_START}user\nWhat is  24 + 7?\n\n{TURN_END} e\u0301"
    assert encode(loaded.tokenizer, text) == encode(original.tokenizer, text)
    assert loaded.tokenizer.decode(encode(loaded.tokenizer, text)) == text
    # Its responses end where those of the unchanged model do.
    assert metrics["changed"]["tokens/mean"] == metrics["unchanged"]["tokens/mean"]
