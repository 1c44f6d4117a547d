"""Names of graders, as they are stored beside their verdicts: the version, and what a protocol asks of it.

tbrm-1                                    the answer is searched for everywhere
tbrm-1+strict_boxed                       only a box holds an answer
tbrm-3+no_missing_unit+vector_as_tuple    a policy: what differs from the default
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.grading.grader import GRADER
from tbrm_bench.records import DEFAULT_POLICY, GradingPolicy

STRICT_BOXED = "strict_boxed"


def grader_name(*, strict_boxed: bool, policy: GradingPolicy = DEFAULT_POLICY) -> str:
    """Return this version's name."""
    return "+".join([GRADER, *options(strict_boxed=strict_boxed, policy=policy)])


def options(*, strict_boxed: bool, policy: GradingPolicy = DEFAULT_POLICY) -> list[str]:
    """Return the part of a name that a protocol decides; empty where it asks for nothing of its own."""
    switches = [name if value else f"no_{name}" for name, value in changed_policy(policy).items()]
    return [STRICT_BOXED] * strict_boxed + switches


def changed_policy(policy: GradingPolicy) -> dict[str, bool]:
    """Return the switches that differ from the default, as a run stores them."""
    return {name: value for name, value in asdict(policy).items() if value != getattr(DEFAULT_POLICY, name)}


def is_strict_boxed(grader: str) -> bool:
    """Return whether a grader of this name, of any version, takes answers from boxes only."""
    return STRICT_BOXED in grader.split("+")[1:]


def stored_name(about: Mapping[str, Any]) -> str:
    """Return this version's name for a run without verdicts, by what its `about` says that its protocol asks."""
    return "+".join([GRADER, *stored_options(about)])


def stored_options(about: Mapping[str, Any]) -> list[str]:
    """Return what `options` gave when the `about` of a run was written."""
    return options(strict_boxed=bool(about.get(STRICT_BOXED)), policy=GradingPolicy(**about.get("policy", {})))


def policy_of(grader: str) -> GradingPolicy:
    """Return the policy in a grader's name, of any version; raises UserError for a switch that is unknown here."""
    known, found = asdict(DEFAULT_POLICY), {}
    for word in grader.split("+")[1:]:
        name = word.removeprefix("no_")
        if name in known:
            found[name] = name == word
        elif word != STRICT_BOXED:
            raise UserError(
                f"the grader {grader} has the option {word!r}, which this version does not know (it has "
                f"{', '.join((STRICT_BOXED, *known))}); use the version that graded the run"
            )
    return GradingPolicy(**found)
