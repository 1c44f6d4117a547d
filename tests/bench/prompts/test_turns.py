"""Templates of chat models in small: what ends a turn stops an answer, and what does not fit is said."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tbrm_bench.prompts.protocol import load_protocol
from tbrm_bench.prompts.render import load_tokenizer, prompt_warnings, stop_token_ids
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.run.plan import EvalOptions
from tbrm_bench.run.prepare import prepare

TINY = builtin_model_dir("tiny")
PROTOCOL = load_protocol("greedy")


def opens(text: str) -> str:
    """Return the part of a template that opens an answer."""
    return "{% if add_generation_prompt %}{{ '" + text + "' }}{% endif %}"


CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}" + opens(
    "<|im_start|>assistant\n"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
    "{{ m.content | trim + '<|eot_id|>' }}{% endfor %}" + opens("<|start_header_id|>assistant<|end_header_id|>\n\n")
)
GEMMA = (
    "{% set s = messages[0].content + '\n' if messages[0].role == 'system' else '' %}"
    "{% for m in messages if m.role != 'system' %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{ (s if loop.first else '') + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    + opens("<start_of_turn>model\n")
)
MISTRAL = (
    "{% set s = messages[0].content if messages[0].role == 'system' else '' %}{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + (s + '\n\n' if loop.last else '') + m.content + '[/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
QWEN3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    + opens("<|im_start|>assistant\n")
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "{{ '<\uff5cUser\uff5c>' + m.content }}{% else %}"
    "{{ '<\uff5cAssistant\uff5c>' + m.content.split('</think>')[-1] + eos_token }}"
    "{% endif %}{% endfor %}" + opens("<\uff5cAssistant\uff5c><think>\n")
)
PHI = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
GLM = "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}" + opens("<|assistant|>")
HARMONY = (
    "{% for m in messages %}{{ '<|start|>' + m.role }}{{ '<|channel|>final' if m.role == 'assistant' else '' }}"
    "{{ '<|message|>' + m.content + ('<|return|>' if loop.last and m.role == 'assistant' else '<|end|>') }}{% endfor %}"
    + opens("<|start|>assistant")
)
VICUNA = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ASSISTANT: ' + m.content + eos_token }}{% else %}"
    "{{ m.content if m.role == 'system' else ' USER: ' + m.content }}{% endif %}{% endfor %}" + opens(" ASSISTANT:")
)


def build(template: str, eos: str, *tokens: str) -> PreTrainedTokenizerFast:
    """Return the bundled model's tokenizer with another template, EOS and further control tokens."""
    made = PreTrainedTokenizerFast(
        tokenizer_file=str(TINY / "tokenizer.json"), eos_token=eos, bos_token="<s>", chat_template=template
    )
    made.add_tokens(list(tokens), special_tokens=True)
    return made


def ids(tokenizer: Any, *tokens: str) -> tuple[int, ...]:
    return tuple(sorted(tokenizer.convert_tokens_to_ids(list(tokens))))


LLAMA3_TOKENS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
R1_TOKENS = ("<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>")
PHI_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
HARMONY_TOKENS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")

FAMILIES = {
    "chatml": (build(CHATML, "<|im_end|>"), ("<|im_end|>",)),
    "qwen3": (build(QWEN3, "<|im_end|>"), ("<|im_end|>",)),
    "llama3": (build(LLAMA3, "<|eot_id|>", *LLAMA3_TOKENS), ("<|eot_id|>",)),
    "mistral": (build(MISTRAL, "</s>"), ("</s>",)),
    "r1": (build(R1, "<\uff5cend▁of▁sentence\uff5c>", *R1_TOKENS), ("<\uff5cend▁of▁sentence\uff5c>",)),
    "harmony": (build(HARMONY, "<|return|>", *HARMONY_TOKENS), ("<|return|>",)),
    "vicuna": (build(VICUNA, "</s>"), ("</s>",)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_said_of_a_model_that_ends_its_turns_with_its_eos(name: str, tmp_path: Path) -> None:
    tokenizer, stops = FAMILIES[name]
    assert stop_token_ids(tokenizer, tmp_path, PROTOCOL) == ids(tokenizer, *stops)
    assert list(prompt_warnings(tokenizer, tmp_path, PROTOCOL, {})) == []


OTHERS = {
    "chatml": (build(CHATML, "<|endoftext|>"), "<|endoftext|>", "<|im_end|>"),
    "qwen3": (build(QWEN3, "<|endoftext|>"), "<|endoftext|>", "<|im_end|>"),
    "llama3": (build(LLAMA3, "<|end_of_text|>", *LLAMA3_TOKENS), "<|end_of_text|>", "<|eot_id|>"),
    "gemma": (build(GEMMA, "<eos>", "<start_of_turn>", "<end_of_turn>"), "<eos>", "<end_of_turn>"),
    "phi": (build(PHI, "<|endoftext|>", *PHI_TOKENS), "<|endoftext|>", "<|end|>"),
    "glm": (build(GLM, "<|endoftext|>", *PHI_TOKENS), "<|endoftext|>", "<|user|>"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_the_template_writes_after_an_answer_is_a_stop_too(name: str, tmp_path: Path) -> None:
    tokenizer, eos, end = OTHERS[name]
    assert stop_token_ids(tokenizer, tmp_path, PROTOCOL) == ids(tokenizer, eos, end)
    (warning,) = prompt_warnings(tokenizer, tmp_path, PROTOCOL, {})
    assert eos in warning
    assert end in warning
    # Where the files name it, as those of the real models do, there is nothing to say.
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": list(ids(tokenizer, eos, end))}))
    assert list(prompt_warnings(tokenizer, tmp_path, PROTOCOL, {})) == []


def test_a_protocol_with_its_own_stops_keeps_them_and_a_warning_names_both(tmp_path: Path) -> None:
    protocol = replace(PROTOCOL, model_eos=False, stop_tokens=("<|endoftext|>",))
    tokenizer = build(CHATML, "<|endoftext|>")
    assert stop_token_ids(tokenizer, tmp_path, protocol) == (0,)
    (warning,) = prompt_warnings(tokenizer, tmp_path, protocol, {})
    assert "'<|im_end|>'" in warning
    assert "<|endoftext|> does" in warning


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML.partition("{% if add")[0], "changes nothing: the prompt lacks '<|im_start|>assistant'"),
        (CHATML + opens("<|im_start|>assistant\n"), "twice: add_generation_prompt repeats '<|im_start|>assistant'"),
        (
            CHATML.partition("{% if add")[0] + "{{ '<|im_start|>assistant\n' }}" + opens("<|im_start|>assistant\n"),
            "twice",
        ),
        (VICUNA.partition("{% if add")[0], "changes nothing: the prompt lacks 'ASSISTANT:'"),
        (CHATML.replace("<|im_start|>", "<|turn|>"), "<|turn|> is "),
        (CHATML.replace("<|im_end|>", "\n### End"), "ends an answer with '### End', which does not stop it"),
    ],
)
def test_a_template_that_does_not_fit(template: str, said: str, tmp_path: Path) -> None:
    warnings = list(prompt_warnings(build(template, "<|im_end|>"), tmp_path, PROTOCOL, {}))
    assert any(said in warning for warning in warnings), warnings


@pytest.mark.parametrize("template", [CHATML.partition("{% if add")[0] + "{{ '<|im_start|>assistant\n' }}"])
def test_a_template_that_always_opens_an_answer_is_right(template: str, tmp_path: Path) -> None:
    assert list(prompt_warnings(build(template, "<|im_end|>"), tmp_path, PROTOCOL, {})) == []


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ raise_exception('no') if m.role == 'assistant' }}{{ m.content }}{% endfor %}",
        "{% for m in messages if m.role != 'assistant' %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
        "{{ messages[7].content }}",
    ],
)
def test_a_template_that_tells_nothing_of_answers_changes_nothing(template: str, tmp_path: Path) -> None:
    tokenizer = build(template, "<|im_end|>")
    assert stop_token_ids(tokenizer, tmp_path, PROTOCOL) == (2,)
    assert list(prompt_warnings(tokenizer, tmp_path, PROTOCOL, {})) == []


def test_a_raw_protocol_is_held_against_the_tokenizer_too(tmp_path: Path) -> None:
    raw = load_protocol("simplerl")
    assert not list(prompt_warnings(build(CHATML, "<|im_end|>"), tmp_path, raw, {}))
    other = PreTrainedTokenizerFast(tokenizer_file=str(_without_turn_start(tmp_path)), eos_token="<|im_end|>")
    (warning,) = prompt_warnings(other, tmp_path, raw, {})
    assert "<|im_start|> is " in warning
    assert "simplerl" in warning


def _without_turn_start(folder: Path) -> Path:
    values = json.loads((TINY / "tokenizer.json").read_text())
    values["added_tokens"] = [token for token in values["added_tokens"] if token["content"] != "<|im_start|>"]
    values["model"]["vocab"].pop("<|im_start|>", None)
    path = folder / "lost.json"
    path.write_text(json.dumps(values))
    return path


def test_ids_beyond_the_vocabulary_are_said(tmp_path: Path) -> None:
    tokenizer = build(CHATML, "<|im_end|>")
    tokenizer.add_tokens(["<think>"])
    assert not list(prompt_warnings(tokenizer, tmp_path, PROTOCOL, {"vocab_size": len(tokenizer)}))
    (warning,) = prompt_warnings(tokenizer, tmp_path, PROTOCOL, {"text_config": {"vocab_size": len(tokenizer) - 1}})
    assert "<think>" in warning
    # Gemma 3's tokenizer has the image token of its larger kin, one beyond the vocabulary of gemma-3-1b-it.
    kin = build(CHATML, "<|im_end|>", "<image_soft_token>")
    assert not list(prompt_warnings(kin, tmp_path, PROTOCOL, {"vocab_size": len(kin) - 1}))
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 9999, -1]}')
    (warning,) = prompt_warnings(tokenizer, tmp_path, PROTOCOL, {"vocab_size": len(tokenizer)})
    assert "[9999]" in warning


def test_a_plan_has_these_stops_and_warnings(tmp_path: Path) -> None:
    """The files of a fine-tune of a base model: its EOS in all three, turns that end otherwise."""
    folder = Path(shutil.copytree(TINY, tmp_path / "model"))
    for name, change in (
        ("config.json", {"eos_token_id": 0}),
        ("generation_config.json", {"eos_token_id": 0}),
        ("tokenizer_config.json", {"eos_token": "<|endoftext|>"}),
    ):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    options = EvalOptions(str(folder), ("arithmetic",), "quickstart", engine="hf", limit=2)
    plan = prepare(options)
    assert plan.lock["tasks"]["arithmetic"]["stop_token_ids"] == [0, 2]
    (warning,) = plan.warnings
    assert "<|im_end|>" in warning
    assert "<|endoftext|>" in warning
    assert load_tokenizer(folder).eos_token_id == 0
