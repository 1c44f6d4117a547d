"""Is a task fit to be scored? Its rows are the right ones, and its grader accepts its own golds however they are spelt.

check_task(load_task("aime24"), data_dir=Path("rows"))
-> TaskCheck(task="aime24", num_problems=30, num_golds_passed=30, num_forms=354, failures=(), ...)
"""

from dataclasses import dataclass
from pathlib import Path

from tbrm_bench.errors import MissingPrerequisite, UserError
from tbrm_bench.grading.explain import text_of_gold
from tbrm_bench.grading.selftest import self_test, surface_forms
from tbrm_bench.records import Problem
from tbrm_bench.tasks.problems import example_problem, golds_hash, load_problems, rows_hash, why_repeated
from tbrm_bench.tasks.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class TaskCheck:
    """What a check found. `num_forms` counts the spellings that were graded; `unreachable`: the rows could not be read.

    `unverified` says why nothing shows that the rows are the task's; it is empty where digests do.
    `repeated` names the problems that are copies of others; it is empty where there are none.
    """

    task: str
    num_problems: int
    num_clusters: int
    num_golds_passed: int
    num_forms: int
    rows_hash: str
    golds_hash: str
    failures: tuple[str, ...]
    unreachable: bool = False
    unverified: str = ""
    repeated: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


def check_task(spec: TaskSpec, *, data_dir: Path | None = None) -> TaskCheck:
    """Load the task and grade its golds; what is wrong is in `failures`, one line each, and nothing is raised."""
    try:
        problems = load_problems(spec, data_dir=data_dir)
        unverified, failures = spec.why_unverified(), _example_failures(spec)
    except UserError as error:
        return TaskCheck(spec.name, 0, 0, 0, 0, "", "", (str(error),), isinstance(error, MissingPrerequisite))
    num_passed = 0
    for problem in problems:
        rejected = _rejected_forms(problem)
        num_passed += not rejected
        failures += rejected
    return TaskCheck(
        task=spec.name,
        num_problems=len(problems),
        num_clusters=len({problem.cluster for problem in problems}),
        num_golds_passed=num_passed,
        num_forms=sum(len(surface_forms(problem.gold)) for problem in problems),
        rows_hash=rows_hash(problems),
        golds_hash=golds_hash(problems),
        failures=tuple(failures),
        unverified=unverified,
        repeated=why_repeated(problems),
    )


def _rejected_forms(problem: Problem) -> list[str]:
    return [
        f"{problem.key.problem_id}: {form!r} is {grade.status} ({grade.rule}) for the gold {text_of_gold(gold)}"
        for gold, form, grade in self_test([problem.gold])
    ]


def _example_failures(spec: TaskSpec) -> list[str]:
    if spec.example is None:
        return []
    found = example_problem(spec).gold.answers
    if found == spec.example.answers:
        return []
    return [f"the example's gold is read as {found}, {spec.example.answers} expected"]
