"""A run's scores as a table in a model's card, between two comments, so that a later table takes its place.

    <!-- tbench mine-tbrm6-1a2b3c4d -->
    ## Evaluation
    | task | n | k | avg@k | ...
    <!-- /tbench mine-tbrm6-1a2b3c4d -->

All else in the card stays as it is, byte for byte.
"""

from tbrm_bench.errors import UserError
from tbrm_bench.foreign import for_markdown
from tbrm_bench.publish.card import details
from tbrm_bench.records import RunResult
from tbrm_bench.store.run_file import RunFile

CARD = "README.md"


def card_section(name: str, run: RunFile, result: RunResult, *, source_url: str) -> str:
    """Return the section of a run, with its comments."""
    begin, end = _comments(name)
    protocol = for_markdown(result.about.get("protocol"))
    facts = f"Protocol {protocol}, grader {for_markdown(result.grader)}, lock {result.lock_hash[:12]}."
    told = (
        f"Percent, ± one standard error over problems. {facts} "
        f"[Samples, verdicts and how to reproduce]({source_url}), by tbrm-bench."
    )
    return f"{begin}\n## Evaluation\n\n{details(run, result)}\n\n{told}\n{end}\n"


def with_section(card: bytes, name: str, section: str) -> bytes:
    """Return the card with the section in place of the run's earlier one, else at the end.

    Raises UserError if the card is not UTF-8, or has only one of the two comments.
    """
    try:
        before = card.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{CARD} of the model is not UTF-8 ({error}); fix it, or leave out --model-card") from error
    begin, end = _comments(name)
    if (before.count(begin), before.count(end)) == (1, 1) and before.index(begin) < before.index(end):
        head, _, rest = before.partition(begin)
        tail = rest.partition(end)[2].removeprefix("\r").removeprefix("\n")
        return (head + section + tail).encode()
    if begin in before or end in before:
        raise UserError(f"{CARD} of the model must have {begin} and {end} once each, in this order; fix it")
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    return (before + gap + section).encode()


def _comments(name: str) -> tuple[str, str]:
    return f"<!-- tbench {for_markdown(name)} -->", f"<!-- /tbench {for_markdown(name)} -->"
