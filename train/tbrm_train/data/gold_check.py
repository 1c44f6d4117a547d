"""Before step 1: check that every question has one gold, and that a correct answer can earn its reward.

A gold that the grader cannot read gives reward 0 whatever the policy answers, a missing one that became text rewards
that text, and two golds of one question cannot both be correct. None of this shows in a loss.

    rows.jsonl:7    gold "7 + 7 = 14\\n#### 14"    -> refused: a solution, which the gold rule 'gsm8k' reads
    rows.jsonl:9    gold null                     -> refused
    rows.jsonl:12   gold "3", as rows.jsonl:4 has gold "5" for the same question    -> refused
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tbrm_bench.errors import UserError
from tbrm_bench.grading import grade_many
from tbrm_bench.grading.selftest import unearnable_golds
from tbrm_bench.records import Gold, Problem, Status
from tbrm_train.recipes.rl_recipe import Prompts, Rewards

MAX_SHOWN = 3
# What datasets write if there is no final answer (NuminaMath: proof, notfound): a box around it would earn 1.
_PLACEHOLDER = re.compile(r"\s*(?:(?:proof|not[ _-]?found|n/a)\.?|[-–—?.…]+)\s*", re.IGNORECASE)  # noqa: RUF001


class Sourced(NamedTuple):
    """A problem, its location, why its gold could not be read (the gold is then empty), and what was stripped.

    `cuts`: whether the question had the recipe's prefix, and its suffix.
    """

    problem: Problem
    location: str
    fault: str = ""
    cuts: tuple[bool, bool] = (True, True)

    @property
    def question(self) -> str:
        """The text, regardless of whitespace: questions with equal text are one."""
        return " ".join(self.problem.question.split())


def choose(sourced: Iterable[Sourced], prompts: Prompts, rewards: Rewards) -> tuple[list[Problem], list[str]]:
    """Return the first `num_prompts` distinct questions that can be trained on, and warnings.

    DAPO-Math-17k has each question a hundred times. Raises UserError that names the first golds that cannot be
    trained on; with `bad_golds = "leave_out"` their questions are left out.
    """
    questions = _by_question(sourced)
    chosen = list(questions)[: prompts.num_prompts]
    warnings = list(_count_warnings(prompts, len(chosen)))
    faults = _faults([questions[name] for name in chosen], rewards)
    problems = [item.problem for name in chosen for item in questions[name][:1] if name not in faults]
    if faults:
        report = _report(prompts, faults, len(chosen))
        if prompts.bad_golds == "refuse":
            raise UserError(report + _way_out(prompts))
        warnings.append(report + "; these questions are left out")
    return problems, warnings


def choose_unchecked(sourced: Iterable[Sourced], prompts: Prompts) -> tuple[list[Problem], list[str]]:
    """Return the distinct questions and warnings, for sources that are not graded by their golds."""
    problems = [items[0].problem for items in _by_question(sourced).values()][: prompts.num_prompts]
    return problems, list(_count_warnings(prompts, len(problems)))


def _count_warnings(prompts: Prompts, count: int) -> Iterator[str]:
    if prompts.num_prompts is not None and count < prompts.num_prompts:
        yield f"prompts.num_prompts is {prompts.num_prompts}, but {prompts.source} has {count} distinct questions"


def _by_question(sourced: Iterable[Sourced]) -> dict[str, list[Sourced]]:
    """Return the rows of each question, one per distinct gold, in the order of the source."""
    questions: dict[str, dict[tuple[Gold, str], Sourced]] = {}
    for item in sourced:
        questions.setdefault(item.question, {}).setdefault((item.problem.gold, item.fault), item)
    return {name: list(items.values()) for name, items in questions.items()}


def _faults(groups: Sequence[Sequence[Sourced]], rewards: Rewards) -> dict[str, str]:
    """Return what is wrong by question, in the order of the groups, with the row's location."""
    golds = (item.problem.gold for items in groups for item in items if not item.fault)
    unearnable = unearnable_golds(golds, num_workers=rewards.workers, time_limit_s=rewards.time_limit_s)
    pairs = [(items[0], other) for items in groups for other in items[1:] if not (items[0].fault or other.fault)]
    differ = _differing(pairs, rewards)
    faults: dict[str, str] = {}
    for items in groups:
        for item in items:
            gold = item.problem.gold
            reason = item.fault or (f"{_text(gold)}: {unearnable[gold]}" if gold in unearnable else "")
            if not reason and _PLACEHOLDER.fullmatch(", ".join(gold.answers)):
                reason = f"{_text(gold)}, which means no answer; if it is one, write it as \\text{{}}"
            if not reason and (items[0].location, item.location) in differ:
                reason = f"{_text(gold)}; for the same question at {items[0].location} {_text(items[0].problem.gold)}"
            if reason:
                faults.setdefault(item.question, f"{item.location}: {reason}")
    return faults


def _differing(pairs: Sequence[tuple[Sourced, Sourced]], rewards: Rewards) -> set[tuple[str, str]]:
    """Return the locations of two golds of one question of which one is not correct under the other."""
    asked = [
        (rf"\boxed{{{', '.join(answer.problem.gold.answers)}}}", by.problem.gold)
        for pair in pairs
        for answer, by in (pair, pair[::-1])
    ]
    grades = list(grade_many(asked, num_workers=rewards.workers, time_limit_s=rewards.time_limit_s))
    are_right = [grade.status is Status.CORRECT for grade in grades]
    return {
        (one.location, other.location)
        for (one, other), *right in zip(pairs, are_right[::2], are_right[1::2], strict=True)
        if not all(right)
    }


def _report(prompts: Prompts, faults: Mapping[str, str], num_questions: int) -> str:
    shown = list(faults.values())[:MAX_SHOWN]
    more = f"; and {len(faults) - len(shown)} more" if len(faults) > len(shown) else ""
    return (
        f"prompts.source {prompts.source}: {len(faults)} of {num_questions} questions have a gold that cannot be "
        f"trained on: {'; '.join(shown)}{more}"
    )


def _way_out(prompts: Prompts) -> str:
    named = "name another prompts.rows.answer or gold_rule, " if prompts.rows is not None else ""
    return f"; fix the rows, {named}or leave them out with prompts.bad_golds=leave_out"


def _text(gold: Gold) -> str:
    text = repr(", ".join(gold.answers))
    return "the gold is " + (text if len(text) <= 60 else f"{text[:57]}...")
