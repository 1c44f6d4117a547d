"""The nouns: everything that crosses from one stage of a run to the next.

    dataset --Problem--> prompts --Prompt--> (seed) --SampleRequest--> engine --Sample--> grader --Grade--> score
    score --TaskScore, MacroScore, RunResult--> report

All are frozen; none knows how to do anything. Example of a problem:

    Problem(key=ProblemKey("arithmetic", "L2-0007"), question="What is 17 + 25 * 3?",
            gold=Gold(answers=("92",), kind="integer"), cluster="L2-0007")
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

# Of a sample that is one: an aborted or failed request is none. "repetition": the engine cut a loop short.
FinishReason = Literal["stop", "length", "repetition"]
AnswerKind = Literal["auto", "integer", "number", "expression", "tuple", "interval", "text"]


class ProblemKey(NamedTuple):
    """Names one problem of one task."""

    task: str
    problem_id: str


class SampleKey(NamedTuple):
    """Names one sample of a run; the sample index runs from 0 and is part of the seed."""

    task: str
    problem_id: str
    sample_index: int


@dataclass(frozen=True, slots=True)
class Gold:
    """The right answer, normalised so that the grader can read it.

    `answers` holds every value that a right answer must give, in any order: one for most problems, several for a
    problem with several solutions. Tolerances are 0 for an exact match; a prediction p matches a value g when
    |p - g| <= max(abs_tolerance, rel_tolerance * |g|). Where `scorer` is set, the problem's own scorer judges and
    nothing else here counts: it is the JSON of what that needs to make the problem again (see `grading.scored`).
    """

    answers: tuple[str, ...]
    kind: AnswerKind = "auto"
    abs_tolerance: float = 0.0
    rel_tolerance: float = 0.0
    unit: str = ""
    scorer: str = ""

    def values(self) -> dict[str, Any]:
        """Return the fields as they are stored: no `scorer` where there is none, as before scorers existed."""
        return {name: value for name, value in asdict(self).items() if name != "scorer" or value}


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of a benchmark; `cluster` names the group whose answers are not independent (its own id if alone)."""

    key: ProblemKey
    question: str
    gold: Gold
    cluster: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A problem as the model sees it: the rendered text and its token ids, BOS included."""

    key: ProblemKey
    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy; max_tokens bounds the new tokens; stop ends a completion."""

    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion to generate. The seed is a function of the key alone (see `seeds`)."""

    key: SampleKey
    prompt_token_ids: tuple[int, ...]
    sampling: Sampling
    seed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion. `token_ids` holds the new tokens, a final stop token included; `text` leaves it out."""

    key: SampleKey
    seed: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    num_prompt_tokens: int


class Status(StrEnum):
    """The verdict on a sample. Only CORRECT scores; every other status is counted apart.

    What the answer caused is WRONG, exceeding a limit of time or memory included; ERROR is what it did not cause.
    """

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"  # finished without a final answer
    TRUNCATED = "truncated"  # ran into the token cap without a final answer
    TIMEOUT = "timeout"  # in rates: the answer kept the grader from a verdict; see `grading.verdicts`
    ERROR = "error"  # the gold or the grader failed, not the answer


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict, the answer that was found (None if none) and the name of the rule that decided."""

    status: Status
    extracted: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class GradedSample:
    """What scoring needs to know of one stored sample; `status` is None and `rule` empty while it is not graded."""

    key: SampleKey
    status: Status | None
    extracted: str | None
    finish_reason: FinishReason
    num_tokens: int
    rule: str = ""


@dataclass(frozen=True, slots=True)
class TaskScore:
    """The scores of one task; docs/metrics.md defines every number. Undefined is NaN.

    Rates and scores are in [0, 1]. `pass_at[k]` and `pass_at_se[k]` hold every k from 1 to `num_samples`.
    `num_missing` counts samples that are not stored, `num_ungraded` stored ones without a verdict. When either is not
    0 every score is NaN: what is missing is never divided away. `status_rates` sum to 1; a wrong answer that kept the
    grader from a verdict counts under TIMEOUT and not under WRONG.
    """

    task: str
    num_problems: int
    num_clusters: int
    num_samples: int
    num_missing: int
    num_ungraded: int
    avg: float
    se: float
    ci_low: float
    ci_high: float
    sampling_sd: float
    pass_at: Mapping[int, float]
    pass_at_se: Mapping[int, float]
    maj: float
    maj_se: float
    status_rates: Mapping[Status, float]
    cap_rate: float  # share of samples that ran into the token cap, whatever their verdict
    mean_tokens: float
    max_tokens: int  # of the longest completion stored, not the cap


@dataclass(frozen=True, slots=True)
class MacroScore:
    """The unweighted mean over the tasks of a suite, with its standard error and 95 % interval."""

    avg: float
    se: float
    ci_low: float
    ci_high: float
    pass_at: Mapping[int, float]
    maj: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """All scores of a run, as written to results.json."""

    name: str
    lock_hash: str
    grader: str
    tasks: tuple[TaskScore, ...]
    macro: MacroScore
    about: Mapping[str, Any] = field(default_factory=dict)
    proof: str = ""  # ties the scores to the stored verdicts that they were computed from; empty in old files
