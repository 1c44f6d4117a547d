"""Every gold is accepted by its own grader in its surface forms; the real golds of the six benchmarks too."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.grading import grade, normalize_gold
from tbrm_bench.grading.many import grade_many
from tbrm_bench.grading.model_forms import model_forms, near_misses
from tbrm_bench.grading.selftest import self_test, surface_forms, unearnable_golds
from tbrm_bench.records import Gold, Status
from tbrm_bench.tasks.problems import load_problems
from tbrm_bench.tasks.spec import load_task

INVENTED = [
    Gold(("17",)), Gold((r"\frac{5}{12}",)), Gold((r"\left(\frac{1}{2}, -3\right]",)), Gold((r"6.1 \times 10^{-8}",)),
    Gold(("2", "-5", "9")), Gold(("(1,2)", "(2,1)")), Gold((r"\text{(D)}",)), Gold((r"\$12.50",)),
    Gold((r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",)), Gold(("y = 3x - 2",)), Gold((r"2 \pm \sqrt{7}",)),
    Gold((r"\frac{1}{7} \text{ miles}",)), Gold((r"e^{-2 t} \cos (3 t)",)), Gold(("62_7",)), Gold(("-4", "-4")),
]  # fmt: skip


def test_invented_golds_pass() -> None:
    assert self_test(INVENTED) == []


def test_there_are_at_least_six_forms_and_no_two_alike() -> None:
    for gold in INVENTED:
        forms = surface_forms(gold)
        assert len(forms) >= 6
        assert len(set(forms)) == len(forms)


def test_a_gold_that_cannot_be_read_is_reported() -> None:
    failures = self_test([Gold((r"\frac{1}{0}",)), Gold((r"\boxed{3",))])
    assert {failure.gold.answers[0] for failure in failures} == {r"\boxed{3"}


def test_golds_that_no_answer_can_earn_are_found_without_grading_every_form() -> None:
    assert unearnable_golds(INVENTED) == {}
    solution, broken = Gold(("7 + 7 = 14\n#### 14",)), Gold((r"\frac{1",))
    assert set(unearnable_golds([*INVENTED, solution, broken, broken])) == {solution, broken}


def real_golds(folder: Path) -> Iterator[tuple[str, Gold]]:
    """Yield (benchmark, gold) for all rows of the six."""
    columns = {
        "aime24": ("answer", "integer"),
        "aime25": ("expected_answer", "integer"),
        "amc23": ("answer", "integer"),
        "math500": ("answer", "latex"),
        "minerva_math": ("solution", "minerva"),
        "olympiadbench": ("final_answer", "olympiad_list"),
    }
    for name, (column, rule) in columns.items():
        for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row: dict[str, Any] = json.loads(line)
            tolerance = float(row.get("error") or 0)
            yield name, Gold(normalize_gold(row[column], rule), abs_tolerance=tolerance, unit=row.get("unit") or "")


def test_real_golds_pass_in_every_form(real_data: Path) -> None:
    golds = [gold for _, gold in real_golds(real_data)]
    assert len(golds) == 1547
    assert [(failure.gold.answers, failure.form, failure.grade.rule) for failure in self_test(golds)] == []


def test_real_golds_reject_each_other(real_data: Path) -> None:
    """Golds of one benchmark against each other, a sample of pairs: what is accepted is accepted both ways."""
    by_name: dict[str, list[Gold]] = {}
    for name, gold in real_golds(real_data):
        by_name.setdefault(name, []).append(gold)
    rng = random.Random(7)
    one_way = []
    for golds in by_name.values():
        for _ in range(1500):
            left, right = rng.choice(golds), rng.choice(golds)
            if left.answers == right.answers or left.unit or right.unit or left.abs_tolerance or right.abs_tolerance:
                continue
            forward = grade(rf"\boxed{{{', '.join(left.answers)}}}", right).status
            backward = grade(rf"\boxed{{{', '.join(right.answers)}}}", left).status
            if forward != backward or forward is Status.CORRECT:
                one_way.append((left.answers, right.answers, forward, backward))
    assert len(one_way) < 40, one_way


def test_golds_of_every_kind_pass_as_models_write_them_and_reject_near_misses(real_data: Path) -> None:
    """Functions, families, conditions, words: the golds of IMO-AnswerBench."""
    golds = [problem.gold for problem in load_problems(load_task("imo_answerbench"), data_dir=real_data)]
    assert [(failure.gold.answers, failure.form) for failure in self_test(golds)] == []
    missed = [(gold, text) for gold in golds for text in near_misses(gold.answers)]
    assert {gold for gold, _ in missed} == set(golds), "each has a near miss"
    graded = grade_many((rf"\boxed{{{text}}}", gold) for gold, text in missed)
    accepted = [text for (_, text), found in zip(missed, graded, strict=True) if found.status is Status.CORRECT]
    assert len(accepted) <= 1, accepted  # one floor for another, which agree at the points that are tried


def test_what_is_not_read_in_every_spelling_is_listed_with_its_reason() -> None:
    task = load_task("imo_answerbench")
    path = task.digests_file.with_name("imo_answerbench.unread.txt")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    entries = dict(line.split(" ", 1) for line in lines)
    assert len(entries) == len(lines) < 20
    assert set(entries) <= set(task.gold_digests())
    assert all(len(reason.split()) > 3 for reason in entries.values())


def test_no_form_of_a_gold_is_one_of_its_near_misses() -> None:
    for gold in INVENTED:
        assert not set(model_forms(gold.answers)) & set(near_misses(gold.answers))


@pytest.mark.parametrize(
    "spelling", ["{m}e{x}", r"{m} \times 10^{{{x}}}", r"{m}\cdot10^{x}", "{m}E{x}", "{m}*10^({x})"]
)
def test_every_real_power_of_ten_is_accepted_in_every_spelling(real_data: Path, spelling: str) -> None:
    rows = [json.loads(line) for line in (real_data / "minerva_math.jsonl").read_text(encoding="utf-8").splitlines()]
    golds = [normalize_gold(row["solution"], "minerva")[0] for row in rows]
    powers = [gold for gold in golds if r" \times 10^{" in gold]
    assert len(powers) == 58
    rejected = []
    for gold in powers:
        mantissa, _, exponent = gold.rstrip("}").partition(r" \times 10^{")
        text = spelling.format(m=mantissa, x=exponent)
        if grade(rf"\boxed{{{text}}}", gold).status is not Status.CORRECT:
            rejected.append(text)
    assert rejected == []
