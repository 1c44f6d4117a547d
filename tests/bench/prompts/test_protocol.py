"""Protocols: those shipped say what their sources say, and a mistake in one is told before anything is generated."""

from dataclasses import fields
from pathlib import Path

import pytest

from tbrm_bench.errors import UserError
from tbrm_bench.prompts.protocol import ChatFormat, Protocol, RawFormat, TaskSampling, load_protocol, protocol_names
from tbrm_bench.tasks.spec import load_suite

SMALL = ("aime24", "aime25", "amc23")
LARGE = ("math500", "minerva_math", "olympiadbench")
MINIMAL = """
title = "Mine"
source = "invented"
notes = ""
seed = 1
strict_boxed = true
long_prompts = "error"
model_eos = true
stop_strings = ["\\n\\n"]
stop_tokens = []
[chat]
system = ""
user = "{question}"
add_generation_prompt = true
[default_sampling]
samples = 2
temperature = 1.0
top_p = 0.5
max_tokens = 9
[task_sampling.aime24]
samples = 1
temperature = 0.0
top_p = 1
max_tokens = 10
"""


def read(tmp_path: Path, text: str) -> Protocol:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_protocol(str(path))


def test_the_shipped_protocols() -> None:
    assert protocol_names() == sorted(["tbrm-paper", "qwen25-math", "simplerl", "sober", "greedy", "quickstart"])
    for name in protocol_names():
        protocol = load_protocol(name)
        assert protocol.name == name
        assert protocol.source
        assert protocol.notes
        assert protocol.model_eos or protocol.stop_tokens or protocol.stop_strings


def test_the_papers_numbers() -> None:
    paper = load_protocol("tbrm-paper")
    assert load_suite("tbrm6").protocol == "tbrm-paper"
    assert paper.seed == 42
    for task in SMALL:
        assert paper.sampling(task) == TaskSampling(32, 1.0, 1.0, 3072)
        assert load_protocol("sober").sampling(task).samples >= 10
    for task in LARGE:
        assert paper.sampling(task) == TaskSampling(1, 0.0, 1.0, 3072)
        assert load_protocol("sober").sampling(task).samples == 3
    for task in (*SMALL, *LARGE):
        assert load_protocol("qwen25-math").sampling(task) == TaskSampling(1, 0.0, 1.0, 2048)
        assert load_protocol("greedy").sampling(task).temperature == 0
        sober = load_protocol("sober").sampling(task)
        assert (sober.temperature, sober.top_p) == (0.8, 0.9)


def test_a_protocol_from_a_file(tmp_path: Path) -> None:
    mine = read(tmp_path, MINIMAL)
    assert (mine.name, mine.template, mine.stop_strings) == ("mine", "chat", ("\n\n",))
    assert mine.sampling("aime24") == TaskSampling(1, 0.0, 1.0, 10)
    assert mine.sampling("amc23") == mine.default_sampling == TaskSampling(2, 1.0, 0.5, 9)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 1", "sead = 1", ["'sead'", "did you mean 'seed'"]),
        ("seed = 1", "", ["lacks the key 'seed'"]),
        ("top_p = 0.5", "topp = 0.5", ["[default_sampling]", "'topp'", "'top_p'"]),
        ("top_p = 0.5", "top_p = 0.0", ["default_sampling.top_p is 0.0"]),
        ("top_p = 0.5", "top_p = 1.01", ["top_p is 1.01"]),
        ("top_p = 0.5", "top_p = nan", ["top_p is nan"]),
        ("temperature = 1.0", "temperature = -0.1", ["temperature is -0.1"]),
        ("temperature = 1.0", "temperature = nan", ["temperature is nan"]),
        ("temperature = 1.0", "temperature = inf", ["temperature is inf"]),
        ("temperature = 1.0", "temperature = 0.0099", ["temperature is 0.0099", "use 0 (greedy) or 0.01 or more"]),
        ("temperature = 0.0", "temperature = 1e-6", ["[task_sampling.aime24]", "temperature is 1e-06"]),
        ("temperature = 1.0", "temperature = 0.0", ["2 greedy samples", "copies"]),
        ("samples = 2", "samples = 0", ["samples is 0", "1 or more"]),
        ("samples = 2", "samples = 2.0", ["samples: 2.0 is not a whole number"]),
        ("max_tokens = 9", "max_tokens = -1", ["max_tokens is -1"]),
        ("task_sampling.aime24", "task_sampling.aime42", ["task_sampling.aime42", "did you mean 'aime2"]),
        ("{question}", "question", ["[chat] user", "0 times"]),
        ('user = "{question}"', 'user = "{question} {question}"', ["2 times"]),
        ('["\\n\\n"]', '[""]', ["empty string"]),
        ("[chat]", '[raw]\nprompt = "{question}"\n[chat]', ["either [chat] or [raw]"]),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    assert old in MINIMAL
    with pytest.raises(UserError) as raised:
        read(tmp_path, MINIMAL.replace(old, new, 1))
    for part in ["mine.toml", *said]:
        assert part in str(raised.value)


def test_every_temperature_that_is_allowed_is_the_one_that_vllm_draws_at(tmp_path: Path) -> None:
    from vllm import SamplingParams

    for asked in (0.0, 0.01, 0.0100001, 0.3, 2.0):
        text = MINIMAL.replace("temperature = 0.0", f"temperature = {asked}")
        found = read(tmp_path, text).sampling("aime24").temperature
        assert SamplingParams(temperature=found).temperature == found == asked


def test_an_unknown_name_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no protocol 'greedi'; did you mean 'greedy'"):
        load_protocol("greedi")
    with pytest.raises(UserError, match=r"gone.toml cannot be read: No such file"):
        load_protocol(str(tmp_path / "gone.toml"))


def test_every_key_and_every_protocol_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "protocols.md").read_text()
    names = {field.name for cls in (Protocol, ChatFormat, RawFormat, TaskSampling) for field in fields(cls)}
    for name in (names - {"name", "chat", "raw"}) | set(protocol_names()):
        assert f"`{name}`" in page or f"`[{name}" in page, name
