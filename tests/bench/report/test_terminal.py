"""The score table: it fits, it says what the numbers are, it prints names as they are."""

import io
import math
import random
import re

import pytest
from rich.console import Console

from tbrm_bench.records import GradedSample, RunResult, SampleKey, Status, TaskScore
from tbrm_bench.report.terminal import render_result
from tbrm_bench.run.score import macro_score, score_task

OUTCOMES = [Status.CORRECT, Status.WRONG, Status.WRONG, Status.NO_ANSWER, Status.TRUNCATED, Status.TIMEOUT]


def make_task(name: str, *, num_problems: int = 12, num_samples: int = 4, stored: float = 1.0) -> TaskScore:
    rng = random.Random(repr(name))
    samples = [
        GradedSample(SampleKey(name, f"p{p}", i), rng.choice(OUTCOMES), "1", "stop", rng.randint(50, 90_000))
        for p in range(num_problems)
        for i in range(num_samples)
    ]
    return score_task(
        name,
        clusters={f"p{p}": f"c{p // 2}" for p in range(num_problems)},
        num_samples=num_samples,
        graded=samples[: round(stored * len(samples))],
        vote_classes=lambda rows: [[0] * len(row) for row in rows],
    )


def make_result(*tasks: TaskScore, name: str = "run", **about: object) -> RunResult:
    return RunResult(name, "0123456789abcdef", "tbrm-1", tasks, macro_score(tasks), about)


def render(result: RunResult, *, width: int = 80, encoding: str = "utf-8", **options: object) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(file=stream, width=width, **options)  # type: ignore[arg-type]
    render_result(result, console)
    return raw.getvalue().decode(encoding)


SIX = ["aime24", "aime25", "amc23", "math500", "minerva_math", "olympiadbench"]
FULL = make_result(*(make_task(name, num_samples=32 if name.startswith("a") else 3) for name in SIX), model="a/model")


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(width: int) -> None:
    text = render(FULL, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for task in FULL.tasks:
        assert f"{100 * task.avg:.1f} ± {100 * task.se:.1f}" in text
        assert f"{100 * task.ci_low:.1f} – {100 * task.ci_high:4.1f}" in text  # noqa: RUF001
        assert f"{task.mean_tokens:,.0f}" in text


def test_wide_terminals_get_one_table_less() -> None:
    assert "samples  " in render(FULL, width=80)
    assert "samples  " not in render(FULL, width=120)


def rows(text: str, name: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip().startswith(name)]


def test_pass_at_powers_of_two_and_at_every_k_of_a_task() -> None:
    text = render(FULL)
    assert ["pass@k", "1", "2", "3", "4", "8", "16", "32", "curve"] in rows(text, "pass@k")
    scores = rows(text, "aime25")[1]
    assert scores[1:8] == [f"{100 * FULL.tasks[1].pass_at[k]:.1f}" for k in (1, 2, 3, 4, 8, 16, 32)]
    short = rows(text, "math500")[1]
    assert short[4:8] == ["–"] * 4  # noqa: RUF001


def test_columns_of_pass_at_k_that_do_not_fit_are_left_out_between_the_first_and_the_last() -> None:
    result = make_result(make_task("toy", num_problems=2, num_samples=1000))
    header = rows(render(result), "pass@k")[0]
    assert (header[1], header[-2]) == ("1", "1000")
    assert max(map(len, render(result, width=60).splitlines())) <= 60


def test_the_curve_rises() -> None:
    for row in rows(render(FULL), "a")[3:6]:
        heights = ["▁▂▃▄▅▆▇█".index(c) for c in row[-1]]
        assert heights == sorted(heights)
        assert len(heights) > 3


def test_the_mean_is_shown_for_several_tasks_only() -> None:
    macro = FULL.macro
    row = f"{100 * macro.avg:.1f} ± {100 * macro.se:.1f}"
    assert any(row in line for line in render(FULL).splitlines() if "mean of 6 tasks" in line)
    assert "mean of" not in render(make_result(FULL.tasks[0]))


def test_every_column_is_explained() -> None:
    text = render(FULL)
    notes = text[text.rindex("n, k ") :]
    for column in ("n", "k", "avg@k", "95 % CI", "sd", "maj@k", "pass@k", "truncated", "no answer", "failed", "at cap"):
        assert column in text[: text.rindex("n, k ")]
        assert column in notes
    assert "clustered" in notes
    assert "minerva_math (6 clusters)" in " ".join(notes.split())


@pytest.mark.parametrize("width", [80, 120])
def test_a_missing_sample_is_said_with_the_way_to_get_it(width: int) -> None:
    half = make_task("amc23", num_problems=60, stored=117 / 240)
    result = make_result(half, FULL.tasks[0], command=["tbench", "eval", "my model", "--samples", "4"])
    text = render(result, width=width)
    assert "incomplete 117/240" in text
    assert "123 of 624 samples are missing" in text
    assert "tbench eval 'my model' --samples 4" in text
    assert f"{100 * FULL.tasks[0].avg:.1f} ±" in text  # the other task keeps its score
    assert "nan" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "tbench eval command again" in render(make_result(half))


def test_ungraded_samples_are_said_with_the_way_to_grade_them() -> None:
    keys = [SampleKey("toy", "p", i) for i in range(4)]
    samples = [GradedSample(key, None if key.sample_index else Status.WRONG, None, "stop", 5) for key in keys]
    task = score_task("toy", clusters={"p": "p"}, num_samples=4, graded=samples, vote_classes=lambda rows: [])
    text = render(make_result(task))
    assert "graded 1/4" in text
    assert "tbench grade RUN" in text


HOSTILE = ["[red]x[/red]", "[/]", "[link=http://x]y[/link]", ":smile:", "\\[bold]", "@click"]


@pytest.mark.parametrize("name", HOSTILE)
def test_markup_in_names_is_printed_and_not_obeyed(name: str) -> None:
    result = make_result(make_task(name), make_task("b"), name=f"run {name}", model=f"model {name}")
    text = render(result, force_terminal=True, color_system="truecolor")
    assert f"run {name}" in text
    assert f"model {name}" in text
    assert sum(line.count(name) for line in text.splitlines()) >= 5  # heading twice, three tables


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "a\rb", "\u202egpj.exe", "\ud800", "a\x07", "\x9b31m"])
def test_characters_that_steer_a_terminal_are_shown_escaped(name: str) -> None:
    result = make_result(make_task(name), name=name, model=name, command=["tbench", name])
    text = render(result)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert name.encode("unicode_escape").decode() in text


def test_a_long_name_is_folded_not_cut() -> None:
    name = "x" * 100
    text = render(make_result(make_task(name)))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("x") >= 100


def test_no_colour_when_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = render(FULL, force_terminal=True, color_system="256")
    assert "\x1b[" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = render(FULL, force_terminal=True, color_system="256")
    codes = {code for codes in re.findall(r"\x1b\[([\d;]*)m", plain) for code in codes.split(";")}
    assert codes <= {"0", "1", "2"}  # bold and dim, no colour
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == re.sub(r"\x1b\[[\d;]*m", "", plain) == render(FULL)


def test_a_terminal_without_unicode_gets_plain_characters() -> None:
    text = render(make_result(make_task("aimé"), make_task("b"), name="é"), encoding="ascii")
    assert "aim\\xe9" in text
    assert "+-" in text


def test_a_run_without_tasks_is_no_crash() -> None:
    assert "run" in render(make_result())


def test_undefined_errors_are_dashes() -> None:
    task = make_task("toy", num_problems=1, num_samples=1)
    assert math.isnan(task.se)
    row = rows(render(make_result(task)), "toy")[0]
    assert row[3:] == [f"{100 * task.avg:.1f}", "±", "–", "–", "–", f"{100 * task.maj:.1f}"]  # noqa: RUF001
