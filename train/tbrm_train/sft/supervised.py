"""Supervised training from scratch: how the bundled model `builtin:tiny` was made.

Questions and worked solutions stream from a generator; each is rendered by the protocol that will evaluate the model,
so that the prompts of training and evaluation are the same tokens. The loss is the mean cross-entropy over the answer
tokens of the batch (including the end-of-turn token); prompt tokens and padding are masked.

Everything is drawn from the recipe's seed and computed on the CPU in float32 with a fixed number of threads: on one
machine the same recipe writes the same bytes. The weights are saved in bfloat16.

Legend: B conversations, T tokens, V vocabulary.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tbrm_bench.disk import disk_errors
from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.files import new_folder
from tbrm_bench.prompts.protocol import Protocol, load_protocol
from tbrm_bench.prompts.render import render_prompts
from tbrm_bench.records import Gold, Problem, ProblemKey
from tbrm_bench.tasks.generators.arithmetic import training_pairs
from tbrm_train.recipes.sft_recipe import ModelShape, SftOptimizer, SftRecipe
from tbrm_train.sft.bpe import TURN_END, train_tokenizer

if TYPE_CHECKING:
    import torch

IGNORED = -100  # the label that cross-entropy ignores
RENDER_AHEAD = 256


@dataclass(frozen=True, slots=True)
class Conversation:
    """One training example: the tokens of prompt and answer, and how many of them are prompt."""

    token_ids: list[int]
    num_prompt: int


def train(recipe: SftRecipe, log: Callable[[int, float], None]) -> Path:
    """Train by the recipe, write the Hugging Face folder and return it; `log(step, loss)` is called every step.

    The random state and number of threads of the process are restored. Raises UserError if the folder exists, RunFailed
    if it cannot be written, or loss, gradients or weights are not finite.
    """
    _quiet_libraries()
    import torch

    output = Path(recipe.output)
    num_threads = torch.get_num_threads()
    with new_folder(output) as draft, torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(recipe.num_threads)
            torch.manual_seed(recipe.seed)
            tokenizer = train_recipe_tokenizer(recipe)
            model = build_model(recipe.model, tokenizer)
            _optimize(model, tokenizer, recipe, log)
            _save(model, tokenizer, draft, output)
        finally:
            torch.set_num_threads(num_threads)
    return output


def _optimize(model: Any, tokenizer: Any, recipe: SftRecipe, log: Callable[[int, float], None]) -> None:
    import torch

    settings = recipe.optimizer
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, settings.weight_decay), lr=settings.learning_rate, betas=settings.betas
    )
    conversations = stream_conversations(_pairs(recipe), load_protocol(recipe.protocol), tokenizer)
    for step in range(settings.steps):
        batch = list(itertools.islice(conversations, settings.batch_size))
        _check_lengths(batch, recipe.model.context_length)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        loss = answer_loss(model, batch, pad_token_id=tokenizer.pad_token_id)
        if not math.isfinite(loss.item()):
            rate = settings.learning_rate
            raise RunFailed(f"the loss of step {step + 1} is {loss.item()}; lower optimizer.learning_rate {rate}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm))
        if not math.isfinite(norm):
            raise RunFailed(
                f"the norm of the gradients of step {step + 1} is {norm}, while the loss is {loss.item():.4g}; lower "
                f"optimizer.learning_rate {settings.learning_rate}"
            )
        optimizer.step()
        log(step, loss.item())
    broken = [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]
    if broken:
        rate = settings.learning_rate
        raise RunFailed(f"{broken[0]} is not finite after the last step; lower optimizer.learning_rate {rate}")


def _save(model: Any, tokenizer: Any, draft: Path, output: Path) -> None:
    import torch
    from safetensors import SafetensorError

    with disk_errors(output):
        try:
            model.to(torch.bfloat16).save_pretrained(draft)
            tokenizer.save_pretrained(draft)
        except Exception as error:
            # When the disk is full, safetensors raises an error of its own, tokenizers a bare Exception.
            if isinstance(error, SafetensorError) or type(error) is Exception:
                raise OSError(str(error)) from None
            raise


def train_recipe_tokenizer(recipe: SftRecipe) -> Any:
    """Learn the recipe's tokenizer from the protocol's system text and the first training texts."""
    chat = load_protocol(recipe.protocol).chat
    pairs = itertools.islice(_pairs(recipe), recipe.tokenizer.num_texts)
    texts = (f"{question}\n{solution}" for question, solution in pairs)
    return train_tokenizer(
        itertools.chain([chat.system] if chat else [], texts), vocab_size=recipe.tokenizer.vocab_size
    )


def build_model(shape: ModelShape, tokenizer: Any) -> Any:
    """Return a Qwen2 model with random weights, tied embeddings, and the end-of-turn token as its only EOS."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        max_position_embeddings=shape.context_length,
        tie_word_embeddings=True,
        use_cache=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(TURN_END),
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def _pairs(recipe: SftRecipe) -> Iterator[tuple[str, str]]:
    return training_pairs(recipe.seed, direct_share=recipe.direct_share)


def stream_conversations(
    pairs: Iterator[tuple[str, str]], protocol: Protocol, tokenizer: Any
) -> Iterator[Conversation]:
    """Yield a conversation for each (question, answer), each prompt rendered as `tbench eval` renders it."""
    while chunk := list(itertools.islice(pairs, RENDER_AHEAD)):
        prompts = render_prompts([_as_problem(question) for question, _ in chunk], protocol, tokenizer)
        for prompt, (_, solution) in zip(prompts, chunk, strict=True):
            answer = tokenizer.encode(solution + TURN_END, add_special_tokens=False)
            yield Conversation([*prompt.token_ids, *answer], len(prompt.token_ids))


def answer_loss(model: Any, batch: list[Conversation], *, pad_token_id: int) -> "torch.Tensor":
    """Return the mean cross-entropy over all answer tokens of the batch, a scalar in nats."""
    import torch

    width = max(len(conversation.token_ids) for conversation in batch)
    input_ids = torch.full((len(batch), width), pad_token_id)  # (B, T)
    labels = torch.full_like(input_ids, IGNORED)
    for row, conversation in enumerate(batch):
        token_ids = torch.tensor(conversation.token_ids)
        input_ids[row, : len(token_ids)] = token_ids
        labels[row, conversation.num_prompt : len(token_ids)] = token_ids[conversation.num_prompt :]
    # Padding is on the right, where a causal model never looks.
    logits = model(input_ids=input_ids, use_cache=False).logits  # (B, T, V)
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED
    )


def learning_rate(step: int, optimizer: SftOptimizer) -> float:
    """Return the rate of a step: linear warm-up, then cosine decay to zero after the last step."""
    if step < optimizer.warmup_steps:
        return optimizer.learning_rate * (step + 1) / optimizer.warmup_steps
    progress = (step - optimizer.warmup_steps) / max(1, optimizer.steps - optimizer.warmup_steps)
    return optimizer.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Apply weight decay to matrices, not to gains and biases."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _check_lengths(batch: list[Conversation], context_length: int) -> None:
    longest = max(len(conversation.token_ids) for conversation in batch)
    if longest > context_length:
        raise UserError(
            f"a training conversation has {longest} tokens, model.context_length is {context_length}; raise it or use "
            "a protocol with a shorter prompt"
        )


def _quiet_libraries() -> None:
    """Keep notices of libraries off stdout, which is for data, and progress bars off stderr."""
    # transformers imports deepspeed if it is installed, which would print the accelerator that it found.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


def _as_problem(question: str) -> Problem:
    return Problem(ProblemKey("training", ""), question, Gold(answers=("",)), cluster="")
