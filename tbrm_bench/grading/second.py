"""Other graders, each with its own extraction and its own idea of equality; asked in a worker, never for a score.

    ask({"name": "math-verify", "text": "so \\\\boxed{0.5}", "gold": [["\\\\frac12"]]})
    -> (True, "value", {"extracted": "0.5", "answer_form": "0.5", "gold_form": "1/2"})

`math-verify` is https://github.com/huggingface/Math-Verify as it comes, its timeouts off: the worker is killed instead.
`exact` is the simplest grader there is: the text of the last box is the text of the gold.
"""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from tbrm_bench.grading.find.extract import extract

MAX_FORM_CHARS = 500
Opinion = tuple[bool, str, dict[str, Any]]
GRADERS = ("math-verify", "exact")


def name_and_version(name: str) -> str:
    """Return the name under which a second grader's verdicts are stored."""
    return f"{name}-{metadata.version(name)}" if name == "math-verify" else f"{name}-1"


def ask(request: Mapping[str, Any]) -> Opinion:
    """Return a second grader's verdict, the rule that it decided by and what it read."""
    return _math_verify(request) if request["name"] == "math-verify" else _exact(request)


def _math_verify(request: Mapping[str, Any]) -> Opinion:
    from math_verify import parse, verify

    golds = [parse(f"${', '.join(answers)}$", parsing_timeout=None) for answers in request["gold"]]
    read = parse(request["text"], parsing_timeout=None)
    # It gives what it read twice: as an expression, where there is one, and as the text that it took.
    extracted = next((part for part in reversed(read) if isinstance(part, str)), None)
    verdict = any(verify(gold, read, timeout_seconds=None) for gold in golds)
    forms = {"extracted": extracted, "answer_form": _form(read), "gold_form": "; or ".join(map(_form, golds))}
    rule = "nothing_read" if not read else "text" if isinstance(read[0], str) else "value"
    return verdict, rule, forms


def _form(parts: list[Any]) -> str:
    return str(parts[0])[:MAX_FORM_CHARS] if parts else ""


def _exact(request: Mapping[str, Any]) -> Opinion:
    wanted = [", ".join(answers) for answers in request["gold"]]
    found = extract(request["text"], finish_reason=request["finish_reason"], strict_boxed=True).answer
    forms = {"extracted": found, "answer_form": found or "", "gold_form": "; or ".join(wanted)}
    return found in wanted, "string", forms
