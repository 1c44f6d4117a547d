"""Supervised training: the loss in closed form, the schedule, the bytes, the prompts, and what goes wrong."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.errors import UserError
from tbrm_bench.prompts.protocol import load_protocol
from tbrm_bench.prompts.render import load_tokenizer, render_prompts, stop_token_ids
from tbrm_bench.records import Gold, Problem, ProblemKey
from tbrm_bench.tasks.generators.arithmetic import training_pairs
from tbrm_train.recipes.sft_recipe import SftRecipe, load_recipe
from tbrm_train.sft.bpe import TURN_END
from tbrm_train.sft.supervised import Conversation, answer_loss, build_model, learning_rate, stream_conversations, train

TINY = Path(__file__).resolve().parents[3] / "train" / "recipes" / "tiny-sft.toml"
TOY = (
    *("model.hidden_size=32", "model.intermediate_size=32", "model.num_layers=1", "model.num_heads=1"),
    *("model.num_kv_heads=1", "tokenizer.num_texts=100", "tokenizer.vocab_size=300", "num_threads=1"),
    *("optimizer.steps=3", "optimizer.batch_size=4", "optimizer.warmup_steps=1"),
)
VOCABULARY = 11
conversations = st.integers(2, 9).flatmap(
    lambda length: st.builds(
        Conversation,
        st.lists(st.integers(1, VOCABULARY - 1), min_size=length, max_size=length),
        st.integers(1, length - 1),
    )
)
batches = st.lists(conversations, min_size=1, max_size=5)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of this size are slower on two threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy(output: Path, *overrides: str) -> SftRecipe:
    return load_recipe(TINY, [*TOY, f"output={output}", *overrides])


def train_toy(output: Path, *overrides: str) -> dict[str, bytes]:
    """Train at toy size; return the folder's files."""
    folder = train(toy(output, *overrides), lambda step, loss: None)
    assert folder == output
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class Bigrams:
    """A model whose next token depends on the last one alone: its loss can be worked out by hand."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(7)
        self.table = torch.randn(VOCABULARY, VOCABULARY, generator=generator, dtype=torch.float64)
        self.logits = torch.empty(0)

    def __call__(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        self.logits = self.table[input_ids].requires_grad_()
        return SimpleNamespace(logits=self.logits)

    def nats(self, conversation: Conversation) -> list[float]:
        """Return -log p of each answer token, by Python's floats."""
        tokens = conversation.token_ids
        found = []
        for last, token in list(itertools.pairwise(tokens))[conversation.num_prompt - 1 :]:
            row = [math.exp(x) for x in self.table[last].tolist()]
            found.append(-math.log(row[token] / math.fsum(row)))
        return found


@settings(deadline=None)
@given(batch=batches)
def test_loss_is_the_mean_over_the_answers_tokens(batch: list[Conversation]) -> None:
    model = Bigrams()
    nats = [value for conversation in batch for value in model.nats(conversation)]
    assert answer_loss(model, batch, pad_token_id=0).item() == pytest.approx(math.fsum(nats) / len(nats), rel=1e-12)


@settings(deadline=None)
@given(batch=batches)
def test_only_positions_that_predict_an_answer_token_learn(batch: list[Conversation]) -> None:
    model = Bigrams()
    answer_loss(model, batch, pad_token_id=0).backward()  # type: ignore[no-untyped-call]
    assert model.logits.grad is not None
    for row, conversation in enumerate(batch):
        learns = model.logits.grad[row].abs().sum(-1) > 0  # (T,)
        answer = range(conversation.num_prompt - 1, len(conversation.token_ids) - 1)
        assert learns.nonzero().flatten().tolist() == list(answer)


class Vocabulary:
    """All that a model asks of a tokenizer."""

    pad_token_id = 0

    def __len__(self) -> int:
        return VOCABULARY

    def convert_tokens_to_ids(self, token: str) -> int:
        return 2


@pytest.fixture(scope="module")
def transformer() -> Any:
    """A real model in float64 over the vocabulary of the invented conversations."""
    torch.manual_seed(3)
    return build_model(toy(Path("unused")).model, Vocabulary()).double()


@settings(max_examples=20, deadline=None)
@given(batch=batches, longer=conversations)
def test_a_batch_is_the_token_weighted_mean_of_its_conversations(
    transformer: Any, batch: list[Conversation], longer: Conversation
) -> None:
    with torch.no_grad():
        alone = [answer_loss(transformer, [one], pad_token_id=0).item() for one in (*batch, longer)]
        weights = [len(one.token_ids) - one.num_prompt for one in (*batch, longer)]
        expected = sum(map(lambda loss, weight: loss * weight, alone, weights)) / sum(weights)
        # Adding a row, longer or not, pads the others: what they contribute stays.
        assert answer_loss(transformer, [*batch, longer], pad_token_id=0).item() == pytest.approx(expected, rel=1e-10)


@settings(max_examples=20, deadline=None)
@given(batch=batches, pad=st.integers(1, VOCABULARY - 1))
def test_what_stands_in_the_padding_does_not_matter(transformer: Any, batch: list[Conversation], pad: int) -> None:
    with torch.no_grad():
        zero, other = (answer_loss(transformer, batch, pad_token_id=token).item() for token in (0, pad))
    assert zero == pytest.approx(other, rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(steps=st.integers(2, 200), share=st.floats(0, 0.99), peak=st.floats(1e-6, 1))
def test_the_rate_rises_in_a_line_and_falls_along_a_cosine_to_zero(steps: int, share: float, peak: float) -> None:
    warmup = int(steps * share)
    optimizer = replace(load_recipe(TINY).optimizer, steps=steps, warmup_steps=warmup, learning_rate=peak)
    rates = [learning_rate(step, optimizer) for step in range(steps + 1)]
    assert rates[:warmup] == pytest.approx([peak * (step + 1) / warmup for step in range(warmup)])
    falling = rates[warmup:]
    assert falling[0] == pytest.approx(peak)
    assert falling == sorted(falling, reverse=True)
    assert min(rates[:steps]) > 0, "no step is wasted"
    assert rates[steps] == pytest.approx(0, abs=1e-12 * peak)
    # A half turn of the cosine is odd about its middle.
    assert [a + b for a, b in zip(falling, reversed(falling), strict=True)] == pytest.approx([peak] * len(falling))


def test_a_run_that_is_shorter_than_its_warm_up_only_rises() -> None:
    optimizer = replace(load_recipe(TINY).optimizer, steps=2, warmup_steps=50, learning_rate=1.0)
    assert [learning_rate(step, optimizer) for step in range(2)] == pytest.approx([0.02, 0.04])


def test_prompts_of_training_are_those_of_evaluation(tmp_path: Path) -> None:
    train_toy(tmp_path / "model", "optimizer.steps=1")
    tokenizer, protocol = load_tokenizer(tmp_path / "model"), load_protocol("quickstart")
    system = "Please reason step by step, and put your final answer within \\boxed{}."
    for conversation, (question, solution) in itertools.islice(
        zip(stream_conversations(training_pairs(0), protocol, tokenizer), training_pairs(0), strict=False), 300
    ):
        prompt = conversation.token_ids[: conversation.num_prompt]
        problem = Problem(ProblemKey("arithmetic", "x"), question, Gold(("1",)), cluster="x")
        assert tuple(prompt) == render_prompts([problem], protocol, tokenizer)[0].token_ids
        assert tokenizer.decode(prompt) == (
            f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        )
        answer = conversation.token_ids[conversation.num_prompt :]
        assert tokenizer.decode(answer) == solution + TURN_END
        # The model learns to end where evaluation stops it, and nowhere before.
        (stop,) = stop_token_ids(tokenizer, tmp_path / "model", protocol)
        assert answer.index(stop) == len(answer) - 1


def test_the_same_recipe_writes_the_same_bytes_and_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    first = train_toy(tmp_path / "first")
    torch.manual_seed(99)
    state, num_threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    found = torch.get_num_threads()  # 2, or what another library in this process has limited it to
    assert train_toy(tmp_path / "second") == first
    assert torch.get_num_threads() == found
    torch.set_num_threads(num_threads)
    assert torch.equal(torch.get_rng_state(), state)
    other = train_toy(tmp_path / "third", "seed=1")
    assert other["model.safetensors"] != first["model.safetensors"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["first", "second", "third"], "no draft is left"


def test_it_learns_and_every_step_is_told(tmp_path: Path) -> None:
    losses: dict[int, float] = {}
    recipe = toy(tmp_path / "model", "optimizer.steps=60", "optimizer.learning_rate=1e-2", "optimizer.batch_size=8")
    train(recipe, losses.__setitem__)
    assert list(losses) == list(range(60))
    vocabulary = len(load_tokenizer(tmp_path / "model"))
    assert losses[0] == pytest.approx(math.log(vocabulary), abs=0.2), "random weights know nothing"
    assert losses[59] < losses[0] - 2


def test_the_folder_loads_as_the_model_that_the_recipe_describes(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    train_toy(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = load_tokenizer(tmp_path / "model")
    shape = toy(tmp_path).model
    width, inner, heads = shape.hidden_size, shape.intermediate_size, shape.num_heads * shape.head_dim
    keys = shape.num_kv_heads * shape.head_dim
    attention = width * heads + heads + 2 * (width * keys + keys) + heads * width
    layer = attention + 3 * width * inner + 2 * width
    assert model.num_parameters() == len(tokenizer) * width + shape.num_layers * layer + width
    assert model.dtype is torch.bfloat16
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(TURN_END)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.context_length=16", "model.context_length is 16"),
        ("optimizer.learning_rate=1e30", "lower optimizer.learning_rate 1e\\+30"),
    ],
)
def test_what_cannot_be_trained_says_so_and_leaves_nothing(override: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        train_toy(tmp_path / "model", override)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_file_that_cannot_be_written_is_one_line_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    """The fault: a folder exists at the path of the file."""

    def block(step: int, loss: float) -> None:
        (draft,) = tmp_path.glob(".model.draft-*/new")
        (draft / name).mkdir(exist_ok=True)

    with pytest.raises(UserError, match="model cannot be written") as caught:
        train(toy(tmp_path / "model"), block)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
