"""Turns of a conversation as a chat template writes them: what opens an answer and what ends it.

    prompt:  ...3 + 4?<|im_end|>\\n<|im_start|>assistant\\n
    answer:  ...3 + 4?<|im_end|>\\n<|im_start|>assistant\\nIt is 7.<|im_end|>\\n
                      '------------- opening -------------'        '- ending -'

A model writes what its template writes. Where the EOS of its files is another token than the one that ends a turn
(fine-tunes of base models), it keeps writing after its answer: `\\boxed{34}` becomes `\\boxed{34}\\4 = 38.
\\boxed{38}`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tbrm_bench.prompts.protocol import QUESTION, ChatFormat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer
else:
    Tokenizer = Any

QUESTION_TEXT, ANSWER, NEXT_QUESTION = "What is 3 + 4?", "The answer is 7.", "And 5 + 6?"
# Only spellings that no text has by chance; `[INST]` and `<think>` are plain text to many models.
CONTROL = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<\uff5c[^<>\uff5c\s]{1,40}\uff5c>|\[\|[^\[\]|\s]{1,40}\|\]|<(?:start|end)_of_turn>|</?s>"
)
THOUGHT = re.compile(r"</?think>")


@dataclass(frozen=True, slots=True)
class Turns:
    """A sample conversation by a chat template.

    `closed` and `prompt` are what follows the question without and with add_generation_prompt. `opening` and `ending`
    are what precedes and follows an answer; None where the template refuses answers or changes them. Where nothing
    follows a last answer, `ending` is the control token that follows an answer before the next question, if one does.
    """

    text: str
    closed: str
    prompt: str
    opening: str | None = None
    ending: str | None = None


def read_turns(tokenizer: Tokenizer, chat: ChatFormat) -> Turns | None:
    """Render a sample conversation; None if the template refuses the protocol's messages."""
    question = chat.user.replace(QUESTION, QUESTION_TEXT)
    asked = [{"role": "system", "content": chat.system}] if chat.system else []
    asked.append({"role": "user", "content": question})
    answered = [*asked, {"role": "assistant", "content": ANSWER}]
    text = _render(tokenizer, asked, opens=True) or ""
    closed, prompt = _after(_render(tokenizer, asked), question.strip()), _after(text, question.strip())
    if closed is None or prompt is None:
        return None
    whole = _render(tokenizer, answered) or ""
    answer = _after(whole, question.strip())
    if answer is None or ANSWER not in answer:
        return Turns(text, closed, prompt)
    opening, _, ending = answer.partition(ANSWER)
    if not ending.strip():
        more = _render(tokenizer, [*answered, {"role": "user", "content": NEXT_QUESTION}])
        ending = _first_control(tokenizer, (_after(more, ANSWER) or "").partition(NEXT_QUESTION)[0]) or ""
    return Turns(text + whole, closed, prompt, opening, ending)


def turn_end(tokenizer: Tokenizer, chat: ChatFormat) -> int | None:
    """Return the id of the token that the chat template writes right after an answer, None if it writes none."""
    turns = read_turns(tokenizer, chat)
    token = _first_control(tokenizer, turns.ending) if turns and turns.ending else None
    return None if token is None else int(tokenizer.convert_tokens_to_ids(token))


def turn_warnings(tokenizer: Tokenizer, chat: ChatFormat, stop_ids: tuple[int, ...]) -> Iterator[str]:
    """Yield what does not fit between template and tokenizer; `stop_ids` end an answer."""
    turns = read_turns(tokenizer, chat)
    if turns is None:
        return
    ending = (turns.ending or "").strip()
    if ending and not set(stop_ids) & set(_ids(tokenizer, ending)):
        yield (
            f"the chat template ends an answer with {ending[:40]!r}, which does not stop it; "
            f"{token_names(tokenizer, stop_ids)} does"
        )
    if chat.add_generation_prompt and (warning := _opening_warning(turns)):
        yield warning
    yield from control_warnings(tokenizer, turns.text, "the chat template")


def control_warnings(tokenizer: Tokenizer, text: str, source: str) -> Iterator[str]:
    """Yield a warning if control tokens such as `<|im_start|>` in `text` are not single ids of the tokenizer."""
    found = {control: _ids(tokenizer, control) for control in dict.fromkeys(CONTROL.findall(text))}
    unknown = tokenizer.unk_token_id
    split = [
        f"{control} is {f'{len(ids)} tokens' if len(ids) != 1 else 'unknown'}"
        for control, ids in found.items()
        if len(ids) != 1 or (ids[0] == unknown and control != tokenizer.unk_token)
    ]
    if split:
        yield (
            f"control tokens of {source} are not single ids in this tokenizer ({', '.join(split[:6])}); if the model "
            "was trained with single ids, add them to tokenizer.json"
        )


def token_names(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """Return the tokens of ids for people, `none` of no ids; an id that the tokenizer does not have is a number."""
    return ", ".join(_token_name(tokenizer, index) for index in ids) or "none"


def _token_name(tokenizer: Tokenizer, index: int) -> str:
    try:
        name = tokenizer.convert_ids_to_tokens(index)
    except (IndexError, OverflowError, KeyError, ValueError, TypeError):
        name = None
    return str(index) if name is None else str(name)


def _opening_warning(turns: Turns) -> str | None:
    """Return what is wrong with what add_generation_prompt adds, if anything."""
    prompt, closed, opening = turns.prompt.strip(), turns.closed.strip(), (turns.opening or "").strip()
    if closed.startswith(prompt) and opening.startswith(prompt):
        missing = THOUGHT.sub("", opening.removeprefix(prompt)).strip()
        # Some templates open answers with nothing of their own: `[INST] 3 + 4? [/INST]`.
        if missing:
            return f"add_generation_prompt changes nothing: the prompt lacks {missing[:40]!r}, which opens an answer"
    for shorter in (closed, opening):
        added = prompt.removeprefix(shorter).strip()
        if added and prompt.startswith(shorter) and shorter.endswith(added):
            return f"the prompt opens the answer twice: add_generation_prompt repeats {added[:40]!r}"
    return None


def _first_control(tokenizer: Tokenizer, text: str) -> str | None:
    """Return the single token that `text` begins with after white space, if it is an added or a control token."""
    text = text.lstrip()
    known = [token for token in tokenizer.get_added_vocab() if token.strip() and text.startswith(token)]
    if known:
        return str(max(known, key=len))
    control = CONTROL.match(text)
    if control is None or len(ids := _ids(tokenizer, control[0])) != 1 or ids[0] == tokenizer.unk_token_id:
        return None
    return control[0]


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _after(text: str | None, part: str) -> str | None:
    """Return what follows the last `part` in a text, None if it is not in it."""
    return text.rpartition(part)[2] if text is not None and part in text else None


def _render(tokenizer: Tokenizer, messages: list[dict[str, str]], *, opens: bool = False) -> str | None:
    from jinja2.exceptions import TemplateError

    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opens)
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError):
        return None  # what the protocol's own messages do is an error where they are rendered
    return text if isinstance(text, str) else None
