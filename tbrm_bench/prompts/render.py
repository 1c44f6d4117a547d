"""Problems -> prompts: the text and the token ids that a model is given, and the ids that end its answer.

    chat:  [system] + user turn  --the tokenizer's chat template-->  text  -->  ids
    raw:   the protocol's text                                             -->  ids

A prompt holds exactly one BOS where the model has one, and none where it has none. A model has one if its tokenizer
puts it before plain text or its chat template writes it; when both do, joining them naively gives two, which costs
several points. Special tokens are otherwise never added to the text, nor is an EOS at its end.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tbrm_bench.errors import UserError
from tbrm_bench.prompts.protocol import QUESTION, ChatFormat, Protocol
from tbrm_bench.prompts.tokenizer import open_tokenizer
from tbrm_bench.prompts.turns import control_warnings, token_names, turn_end, turn_warnings
from tbrm_bench.records import Problem, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer
else:
    Tokenizer = Any


def load_tokenizer(model_dir: Path, *, trust_remote_code: bool = False) -> Tokenizer:
    """Return the tokenizer of a model's folder; nothing is fetched. Raises UserError if there is none that loads."""
    return open_tokenizer(model_dir, trust_remote_code=trust_remote_code).tokenizer


def render_prompts(problems: Iterable[Problem], protocol: Protocol, tokenizer: Tokenizer) -> list[Prompt]:
    """Return one prompt per problem, in the same order; raises UserError if the template does not suit the protocol."""
    if protocol.chat is not None and not tokenizer.chat_template:
        raise UserError(
            f"protocol {protocol.name} needs a chat template and the tokenizer has none; add chat_template.jinja to "
            "the model's folder or use a protocol with a [raw] prompt (--protocol simplerl)"
        )
    adds_bos = _adds_bos(tokenizer)
    return [_render(problem, protocol, tokenizer, adds_bos) for problem in problems]


def prompts_hash(prompts: Iterable[Prompt]) -> str:
    """Return one hash over the token ids of all prompts, in the order of (task, id)."""
    items = sorted((*prompt.key, list(prompt.token_ids)) for prompt in prompts)
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


def stop_token_ids(tokenizer: Tokenizer, model_dir: Path, protocol: Protocol) -> tuple[int, ...]:
    """Return the ids that end an answer, sorted.

    They are the protocol's stop tokens, those of them that the vocabulary has, and if it asks for the model's own: the
    EOS ids of generation_config.json, or where it names none those of config.json; the tokenizer's EOS, as in vLLM; and
    the token that the chat template writes after an answer.
    """
    return tuple(sorted(_named_stops(tokenizer, model_dir, protocol) | _turn_stops(tokenizer, protocol)))


def prompt_warnings(
    tokenizer: Tokenizer, model_dir: Path, protocol: Protocol, config: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what is allowed and probably not meant about template, stops and vocabulary; `config` is config.json."""
    named, size = _named_stops(tokenizer, model_dir, protocol), vocab_size(config)
    added = sorted(_turn_stops(tokenizer, protocol) - named)
    stop_ids = tuple(sorted({*named, *added}))
    if added:
        yield (
            f"the chat template ends an answer with {token_names(tokenizer, added)}, which is not among the stops that "
            f"the model's files and the protocol name ({token_names(tokenizer, sorted(named))}); it is a stop too"
        )
    if protocol.chat is not None and tokenizer.chat_template:
        yield from turn_warnings(tokenizer, protocol.chat, stop_ids)
    elif protocol.raw is not None:
        yield from control_warnings(tokenizer, protocol.raw.prompt, f"protocol {protocol.name}")
    if size is None:
        return
    if beyond := [token for token in stop_ids if token >= size]:
        yield f"the stop ids {beyond} are beyond the model's vocabulary of {size} (vocab_size); it never writes them"
    # Special tokens that no prompt holds are left over from a kin of the model: Gemma 3's image token, a pad token.
    special = {index for index, token in getattr(tokenizer, "added_tokens_decoder", {}).items() if token.special}
    ids = ((index, token) for token, index in tokenizer.get_vocab().items() if index not in special)
    highest, token = max(ids, default=(0, ""))
    if highest >= size:
        yield (
            f"the tokenizer's ids reach to {highest} ({token!r}), the model's vocabulary has {size} (vocab_size); a "
            "prompt with a token beyond it is refused"
        )


def vocab_size(config: Mapping[str, Any]) -> int | None:
    """Return the number of ids that a model's config.json says it knows, None if it does not say."""
    text = config.get("text_config")
    found = [part.get("vocab_size") for part in (config, text) if isinstance(part, Mapping)]
    return max((size for size in found if type(size) is int), default=None)


def check_ids(prompts: Iterable[Prompt], tokenizer: Tokenizer, config: Mapping[str, Any]) -> None:
    """Raise UserError if a prompt holds an id beyond the model's vocabulary, where vLLM reads rows of padding."""
    size = vocab_size(config)
    for prompt in prompts:
        if size is not None and (highest := max(prompt.token_ids, default=0)) >= size:
            raise UserError(
                f"the prompt of {prompt.key.task} {prompt.key.problem_id} holds {token_names(tokenizer, [highest])} "
                f"with the id {highest}, but the model's vocabulary has {size} (vocab_size in config.json); use the "
                "tokenizer that the model was trained with, or resize its embeddings"
            )


def shortened_caps(
    prompts: Sequence[Prompt], max_tokens: int, context_length: int, *, task: str, protocol: Protocol
) -> dict[str, int]:
    """Return the caps of those problems whose prompt leaves less than `max_tokens` of the context: id -> new tokens.

    Raises UserError if there is such a prompt and the protocol calls it an error, or if it leaves no room at all.
    """
    room = {prompt.key.problem_id: context_length - len(prompt.token_ids) for prompt in prompts}
    caps = {problem_id: left for problem_id, left in room.items() if left < max_tokens}
    if not caps or (protocol.long_prompts == "shorten" and min(caps.values()) > 0):
        return caps
    worst = min(caps, key=lambda problem_id: caps[problem_id])
    fix = f"use --max-tokens {caps[worst]} or less" if caps[worst] > 0 else "use a model with a longer context"
    raise UserError(
        f"task {task}: {context_length - caps[worst]} prompt tokens of {worst} and {max_tokens} new ones exceed the "
        f"model's context of {context_length} ({len(caps)} of {len(prompts)} prompts do not fit); {fix}"
    )


def _render(problem: Problem, protocol: Protocol, tokenizer: Tokenizer, adds_bos: bool) -> Prompt:
    if protocol.chat is not None:
        text = _apply_template(problem, protocol.chat, protocol.name, tokenizer)
    else:
        assert protocol.raw is not None
        text = protocol.raw.prompt.replace(QUESTION, problem.question)
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    bos = tokenizer.bos_token_id
    num_bos = next((index for index, token in enumerate(ids) if token != bos), len(ids))
    if num_bos > 1:
        ids, text = ids[num_bos - 1 :], tokenizer.bos_token + text.removeprefix(tokenizer.bos_token * num_bos)
    elif num_bos == 0 and adds_bos:
        ids, text = [bos, *ids], tokenizer.bos_token + text
    return Prompt(problem.key, text, tuple(ids))


def _apply_template(problem: Problem, chat: ChatFormat, protocol: str, tokenizer: Tokenizer) -> str:
    from jinja2.exceptions import TemplateError

    messages = [{"role": "system", "content": chat.system}] if chat.system else []
    messages.append({"role": "user", "content": chat.user.replace(QUESTION, problem.question)})
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=chat.add_generation_prompt)
    except TemplateError as error:
        roles = " and ".join(message["role"] for message in messages)
        raise UserError(
            f"the model's chat template refuses the messages of protocol {protocol} ({roles}): {error}; if it takes no "
            "system message, copy the protocol's TOML, move its text into [chat] user and give that file to --protocol"
        ) from None
    assert isinstance(text, str)
    for message in messages:
        # Some templates leave a role out without a word; a prompt would then not be the protocol's.
        if message["content"].strip() not in text:
            raise UserError(
                f"the model's chat template drops the {message['role']} message of protocol {protocol}; copy the "
                "protocol's TOML, move its text into [chat] user and give that file to --protocol"
            )
    return text


def _adds_bos(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts a BOS before plain text."""
    if tokenizer.bos_token_id is None:
        return False
    ids = tokenizer("1", add_special_tokens=True)["input_ids"]
    return bool(ids) and ids[0] == tokenizer.bos_token_id


def _named_stops(tokenizer: Tokenizer, model_dir: Path, protocol: Protocol) -> set[int]:
    """Return the stops that the protocol, the model's files and the tokenizer name."""
    found = {token: tokenizer.convert_tokens_to_ids(token) for token in protocol.stop_tokens}
    # Of a token that it does not have, a tokenizer gives None or the id of its unknown one.
    ids = {index for token, index in found.items() if index is not None and token_names(tokenizer, [index]) == token}
    if protocol.model_eos:
        # As transformers and vLLM have it: the two files may disagree, and then the first one is right.
        ids |= _eos_ids(model_dir / "generation_config.json") or _eos_ids(model_dir / "config.json")
        if tokenizer.eos_token_id is not None:
            ids.add(tokenizer.eos_token_id)
    return ids


def _turn_stops(tokenizer: Tokenizer, protocol: Protocol) -> set[int]:
    """Return the id that the chat template writes after an answer, for a protocol that asks for the model's own."""
    if not protocol.model_eos or protocol.chat is None or not tokenizer.chat_template:
        return set()
    end = turn_end(tokenizer, protocol.chat)
    return set() if end is None else {end}


def _eos_ids(path: Path) -> set[int]:
    if not path.is_file():
        return set()
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        found = config.get("eos_token_id")
        if found is None and isinstance(text := config.get("text_config"), dict):
            found = text.get("eos_token_id")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as a JSON object: {error}") from None
    ids = found if isinstance(found, list) else [] if found is None else [found]
    if not all(type(token) is int for token in ids):
        raise UserError(f"{path}: eos_token_id is {found!r}; it must be a token id or a list of them")
    return {token for token in ids if token >= 0}  # some old configs have -1 for "none"
