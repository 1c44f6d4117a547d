"""Prompts: exactly one BOS where a model has one, nothing but the protocol's text, the right stops, lengths that fit.

The tokenizers are built here: one token a byte, so that decoding gives the text back.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tbrm_bench.errors import UserError
from tbrm_bench.prompts.protocol import ChatFormat, RawFormat, load_protocol
from tbrm_bench.prompts.render import (
    check_ids,
    load_tokenizer,
    prompts_hash,
    render_prompts,
    shortened_caps,
    stop_token_ids,
)
from tbrm_bench.records import Gold, Problem, ProblemKey, Prompt

BOS, EOS, END = "<s>", "</s>", "<|im_end|>"
TURNS = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[model]{% endif %}"
)
CHAT = replace(load_protocol("greedy"), chat=ChatFormat("Be brief.", "{question} End.", add_generation_prompt=True))
RAW = replace(CHAT, chat=None, raw=RawFormat("Q: {question}\nA:"))
PROBLEM = Problem(ProblemKey("t", "1"), "What is 2 + 3?", Gold(("5",)), "1")


def build(*, adds: str = "", template: str | None = TURNS, bos: str | None = BOS) -> PreTrainedTokenizerFast:
    """Return a byte tokenizer; `adds` is what its post-processor puts around plain text, `$A`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([BOS, EOS, END, *alphabet])}
    core = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    if adds:
        core.post_processor = processors.TemplateProcessing(single=adds, special_tokens=[(BOS, 0), (EOS, 1)])
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, additional_special_tokens=[BOS, END])
    made.bos_token = bos
    made.chat_template = template
    return made


TOKENIZERS = {
    "added to plain text": (build(adds=f"{BOS} $A"), 1, 1),
    "added to plain text, with an EOS": (build(adds=f"{BOS} $A {EOS}"), 1, 1),
    "written by the template": (build(template="{{ bos_token }}" + TURNS), 1, 0),
    "both": (build(adds=f"{BOS} $A", template="{{ bos_token }}" + TURNS), 1, 1),
    "written twice": (build(adds=f"{BOS} $A", template="{{ bos_token }}{{ bos_token }}" + TURNS), 1, 1),
    "named and never used": (build(), 0, 0),
    "none": (build(bos=None), 0, 0),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_exactly_one_bos_where_the_model_has_one(name: str) -> None:
    tokenizer, in_chat, in_raw = TOKENIZERS[name]
    for protocol, wanted, text in (
        (CHAT, in_chat, "[system]Be brief.[user]What is 2 + 3? End.[model]"),
        (RAW, in_raw, "Q: What is 2 + 3?\nA:"),
    ):
        (prompt,) = render_prompts([PROBLEM], protocol, tokenizer)
        assert prompt.token_ids.count(0) == wanted
        assert prompt.token_ids.count(1) == 0, "an EOS would end the conversation before it begins"
        assert prompt.text == BOS * wanted + text
        assert tokenizer.decode(prompt.token_ids) == prompt.text
        assert prompt.key == PROBLEM.key


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1).filter(lambda text: "<" not in text and text.strip()))
def test_a_question_stands_in_the_prompt_as_it_is(question: str) -> None:
    tokenizer = TOKENIZERS["added to plain text"][0]
    problem = replace(PROBLEM, question=question)
    (raw,) = render_prompts([problem], RAW, tokenizer)
    (chat,) = render_prompts([problem], CHAT, tokenizer)
    assert raw.text == f"{BOS}Q: {question}\nA:"
    assert chat.text == f"{BOS}[system]Be brief.[user]{question} End.[model]"


@pytest.mark.parametrize("question", ["{question}", "{0} {x} %s {{", "{% raw %}", "\\boxed{}"])
def test_braces_in_a_question_are_text(question: str) -> None:
    for protocol in (RAW, CHAT):
        (prompt,) = render_prompts([replace(PROBLEM, question=question)], protocol, build())
        assert prompt.text.count(question) == 1


def test_no_system_message_where_the_protocol_has_none() -> None:
    protocol = replace(CHAT, chat=ChatFormat("", "{question}", add_generation_prompt=False))
    (prompt,) = render_prompts([PROBLEM], protocol, build())
    assert prompt.text == "[user]What is 2 + 3?"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, ["needs a chat template", "[raw]", "simplerl"]),
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('No system!') }}{% endif %}",
            ["No system!", "[chat]"],
        ),
        ("{{ messages[-1].content }}", ["drops the system message", "[chat] user"]),
        ("{{ messages[0].content }}", ["drops the user message"]),
        ("{% for m in %}", ["refuses"]),
    ],
)
def test_a_template_that_does_not_suit_the_protocol(template: str | None, said: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        render_prompts([PROBLEM], CHAT, build(template=template))
    for part in ["greedy", *said]:
        assert part in str(raised.value)
    assert render_prompts([PROBLEM], RAW, build(template=template))


def test_the_prompts_hash_is_over_tokens_in_the_order_of_ids() -> None:
    one, two = Prompt(ProblemKey("a", "1"), "x", (5, 6)), Prompt(ProblemKey("a", "2"), "y", (7,))
    assert prompts_hash([one, two]) == prompts_hash([two, one]) == prompts_hash([replace(one, text="z"), two])
    changed = [
        [one],
        [replace(one, token_ids=(5, 7)), two],
        [replace(one, token_ids=(5,)), replace(two, token_ids=(6, 7))],
        [replace(one, key=two.key), replace(two, key=one.key)],
        [replace(one, key=ProblemKey("b", "1")), two],
    ]
    hashes = [prompts_hash(prompts) for prompts in [[one, two], *changed]]
    assert len(set(hashes)) == len(hashes)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def test_stops_are_the_models_and_the_protocols(tmp_path: Path) -> None:
    protocol = replace(CHAT, stop_tokens=(END, "<|not in the vocabulary|>"))
    tokenizer = build()
    assert stop_token_ids(tokenizer, tmp_path, protocol) == (1, 2)
    write_json(tmp_path / "config.json", {"eos_token_id": 40})
    assert stop_token_ids(tokenizer, tmp_path, protocol) == (1, 2, 40)
    write_json(tmp_path / "generation_config.json", {"eos_token_id": [50, 1, 30]})
    assert stop_token_ids(tokenizer, tmp_path, protocol) == (1, 2, 30, 50)
    assert stop_token_ids(tokenizer, tmp_path, replace(protocol, stop_tokens=())) == (1, 30, 50)
    assert stop_token_ids(tokenizer, tmp_path, replace(protocol, model_eos=False)) == (2,)


@pytest.mark.parametrize("named", [{}, {"eos_token_id": None}, {"eos_token_id": []}])
@pytest.mark.parametrize(
    ("config", "stops"),
    [
        ({"eos_token_id": 40}, (1, 40)),
        ({"eos_token_id": 40, "text_config": {"eos_token_id": 60}}, (1, 40)),
        ({"text_config": {"eos_token_id": [60, 61]}}, (1, 60, 61)),
        ({"eos_token_id": None, "text_config": {"eos_token_id": 60}}, (1, 60)),
        ({"text_config": None}, (1,)),
    ],
)
def test_a_generation_config_without_an_eos_leaves_the_config_s(
    tmp_path: Path, named: Any, config: Any, stops: tuple[int, ...]
) -> None:
    write_json(tmp_path / "generation_config.json", named)
    write_json(tmp_path / "config.json", config)
    assert stop_token_ids(build(), tmp_path, CHAT) == stops


@pytest.mark.parametrize("config", [{"vocab_size": 300}, {"text_config": {"vocab_size": 300}}])
def test_no_prompt_reaches_beyond_the_vocabulary(config: Any) -> None:
    inside, beyond = Prompt(ProblemKey("t", "1"), "", (0, 299)), Prompt(ProblemKey("t", "2"), "", (5, 300, 1))
    check_ids([inside], build(), config)
    check_ids([beyond], build(), {})
    with pytest.raises(UserError, match=r"t 2 .*id 300.*vocabulary has 300"):
        check_ids([inside, beyond], build(), config)


@pytest.mark.parametrize(("value", "said"), [({"eos_token_id": "</s>"}, "'</s>'"), ([1], "JSON object")])
def test_an_eos_that_is_no_token_id(tmp_path: Path, value: Any, said: str) -> None:
    write_json(tmp_path / "config.json", value)
    with pytest.raises(UserError, match=said):
        stop_token_ids(build(), tmp_path, CHAT)


def caps(lengths: list[int], max_tokens: int, context: int, mode: Any) -> dict[str, int]:
    prompts = [Prompt(ProblemKey("t", f"id-{index}"), "", (3,) * length) for index, length in enumerate(lengths)]
    protocol = replace(CHAT, long_prompts=mode)
    return shortened_caps(prompts, max_tokens, context, task="t", protocol=protocol)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(1, 30), st.integers(1, 40))
def test_lengths_are_refused_exactly_when_one_does_not_fit(lengths: list[int], max_tokens: int, context: int) -> None:
    if max(lengths) + max_tokens <= context:
        assert caps(lengths, max_tokens, context, "error") == {}
        return
    with pytest.raises(UserError) as raised:
        caps(lengths, max_tokens, context, "error")
    message = str(raised.value)
    longest = lengths.index(max(lengths))
    for part in ("task t", f"id-{longest} ", f"{max(lengths)} prompt tokens", f"context of {context}"):
        assert part in message
    if "--max-tokens" in message:
        advice = int(message.split("--max-tokens ")[1].split()[0])
        assert caps(lengths, advice, context, "error") == {}
        assert max(lengths) + advice == context
    else:
        assert max(lengths) >= context


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(1, 30), st.integers(31, 40))
def test_shortened_caps_fill_the_context_and_touch_no_other_problem(
    lengths: list[int], max_tokens: int, context: int
) -> None:
    shortened = caps(lengths, max_tokens, context, "shorten")
    for index, length in enumerate(lengths):
        assert shortened.get(f"id-{index}", max_tokens) == min(max_tokens, context - length)
        assert (f"id-{index}" in shortened) == (length + max_tokens > context)


def test_a_prompt_that_leaves_no_room_is_an_error_in_any_mode() -> None:
    with pytest.raises(UserError, match="longer context"):
        caps([5, 40], 8, 40, "shorten")


@pytest.mark.parametrize("mode", ["error", "shorten"])
def test_no_prompts_always_fit(mode: str) -> None:
    assert caps([], 10, 1, mode) == {}


def test_a_tokenizer_is_the_same_after_a_round_trip_through_its_folder(tmp_path: Path) -> None:
    made = TOKENIZERS["both"][0]
    made.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    for protocol in (RAW, CHAT):
        assert render_prompts([PROBLEM], protocol, loaded) == render_prompts([PROBLEM], protocol, made)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: None,
        lambda folder: (folder / "config.json").write_text('{"model_type": "qwen2"}'),
        lambda folder: (folder / "tokenizer.json").write_text("{broken"),
        lambda folder: (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "NoSuchTokenizer"}'),
    ],
    ids=["empty", "no-tokenizer", "broken", "unknown-class"],
)
def test_a_folder_without_a_tokenizer_that_loads(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path)
    with pytest.raises(UserError, match="no tokenizer can be loaded from") as raised:
        load_tokenizer(tmp_path)
    assert "\n" not in str(raised.value)
