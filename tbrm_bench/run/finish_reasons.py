"""Why a completion ended, in the words of other engines and services, and what that means to a grader.

    finish_reason("max_tokens")                -> "length"    Anthropic, Cohere, Bedrock, watsonx; Gemini's MAX_TOKENS
    finish_reason("FinishReason.STOP")         -> "stop"
    finish_reason({"type": "length", ...})     -> "length"    SGLang
    finish_reason("banana")                    -> UserError

`stop`: the model ended the completion itself. `length`: it was cut off, by a cap or by a filter, so that what it says
last was not meant as its answer. Capitals, `-`, `_`, spaces and camelCase make no difference.
"""

import re
from collections.abc import Mapping
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.missing import is_missing
from tbrm_bench.records import FinishReason

# Other services' keys (Anthropic, Gemini, Bedrock, Ollama); vLLM's `stop_reason` beside a `finish_reason` is a token.
OTHER_KEYS = ("stop_reason", "finishReason", "stopReason", "done_reason")
# Names as `_plain` writes them, without separators.
STOP = frozenset(
    (
        *("stop", "stopped", "eos", "eostoken", "eostokenid", "endoftext", "endofsequence", "endofturn", "endturn"),
        *("stopsequence", "stopsequences", "stopstring", "stopword", "stoptoken", "stopcriteria", "word"),
        *("complete", "completed", "finish", "finished", "finishedstopped", "done", "success"),
        *("toolcall", "toolcalls", "tooluse", "functioncall", "functioncalls"),
    )
)
LENGTH = frozenset(
    (
        # caps on new tokens
        *("length", "maxtokens", "maxtoken", "maxlength", "maxlen", "maxoutputtokens", "maxnewtokens", "limit"),
        *("maxcompletiontokens", "maxtokensreached", "tokenlimit", "tokenlimitreached", "outputlimit", "truncated"),
        *("finishedlengthcapped", "lengthcapped", "incomplete", "notfinished"),
        # the end of the context
        *("modellength", "contextlength", "contextlengthexceeded", "contextwindow", "modelcontextwindowexceeded"),
        *("maxcontextlength", "errorlimit"),
        # cut off by a filter
        *("contentfilter", "contentfiltered", "guardrailintervened", "safety", "recitation", "blocklist"),
        *("prohibitedcontent", "spii", "language", "errortoxic", "refusal", "malformedfunctioncall"),
        # cut off by the engine or its user
        *("abort", "aborted", "cancel", "cancelled", "canceled", "usercancel", "finishedaborted", "timelimit"),
        *("timeout", "error", "insufficientsystemresource", "pauseturn", "repetition"),
    )
)


def finish_reason_of(values: Mapping[str, Any]) -> FinishReason:
    """Return what a record says of its end, under `finish_reason` or another service's key; raises UserError."""
    name = values.get("finish_reason")
    if is_missing(name):
        # A token's number is a subclass of str where a line is read.
        name = next((values[key] for key in OTHER_KEYS if type(values.get(key)) is str), None)
    return finish_reason(name)


def finish_reason(name: Any) -> FinishReason:
    """Return what another program's word for the end of a completion means; a missing one is `stop`.

    Raises UserError for a word that is not known: a completion that was cut off must not pass for a finished one.
    """
    if isinstance(name, dict):
        name = name.get("type")
    if is_missing(name):
        return "stop"
    plain = _plain(name) if isinstance(name, str) else ""
    if plain in LENGTH:
        return "length"
    if plain in STOP:
        return "stop"
    raise UserError(f"the finish_reason is {name!r}, which is not known; give 'stop' or 'length'"[:200])


def _plain(name: str) -> str:
    """Return `maxtokens` for MAX_TOKENS, max-tokens, maxTokens and FinishReason.MAX_TOKENS."""
    word = re.sub(r"[^a-z]", "", name.strip().rpartition(".")[2].lower())
    return word.removeprefix("finishreason").removeprefix("stopreason")
