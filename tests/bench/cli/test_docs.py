"""The docs against the program: every command has a page, every line shown parses, every link leads somewhere."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tbrm_bench.cli.app import app
from tbrm_bench.config import from_words
from tbrm_bench.records import Grade, Sample, SampleKey, Status
from tbrm_bench.run.plan import EvalOptions, Settings
from tbrm_bench.run.prepare import prepare
from tbrm_bench.store import RunStore

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "train" / "README.md"])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"^(?:    |\$ )?(?:\$ )?tbench (?P<words>.+?)(?:\s{2,}.*|\s+#.*)?$")
PLACEHOLDER = re.compile(r"\.\.\.|\[|\]|\||…")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command below this one; Any, because typer brings its own copy of click's types."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            # A hidden command is what its group does by itself: `tbench train RECIPE`.
            yield from commands(inner, path if inner.hidden else (*path, name))
    else:
        yield path, command


ALL = dict(commands(typer.main.get_command(app)))


def shown_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield the `tbench` lines of indented and fenced blocks that hold no placeholder."""
    for page in PAGES:
        for line in page.read_text().splitlines():
            match = COMMAND.match(line) if line.startswith(("    ", "$ ", "tbench ")) else None
            if match and not PLACEHOLDER.search(match["words"]):
                yield f"{page.relative_to(ROOT)}: {match['words']}", shlex.split(match["words"])


def find(words: list[str]) -> tuple[Any, list[str]]:
    for length in (2, 1):
        command = ALL.get(tuple(words[:length]))
        if command is not None:
            return command, words[length:]
    raise AssertionError(f"tbench has no command {words[:2]}")


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_every_option_has_its_page(path: tuple[str, ...]) -> None:
    page = ROOT / "docs" / f"{path[0]}.md"
    text = page.read_text()
    assert " ".join(("tbench", *path)) in text
    for parameter in ALL[path].params:
        if parameter.param_type_name == "option" and not parameter.hidden and "--help" not in parameter.opts:
            assert any(name in text for name in parameter.opts), f"{page.name} says nothing of {parameter.opts}"
    assert f"]({page.name})" in (ROOT / "docs" / "README.md").read_text()


@pytest.mark.parametrize("words", [pytest.param(words, id=name) for name, words in shown_lines()])
def test_every_line_that_is_shown_parses(words: list[str]) -> None:
    command, rest = find(words)
    redirected = [index for index, word in enumerate(rest) if word in (">", "|", "<")]
    context = command.make_context("tbench", rest[: redirected[0]] if redirected else rest)
    if context.params.get("set_"):
        from_words(list(context.params["set_"]), Settings, place="--set")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in PAGES:
        if page.parent.name == "docs" and page.name != "README.md":
            assert f"({page.name})" in index


def test_the_page_on_run_directories_is_true_of_one(tmp_path: Path) -> None:
    """Its tables name every table, column and field that there is, and its queries run."""
    plan = prepare(EvalOptions(model="builtin:tiny", tasks=("arithmetic",), protocol="quickstart", limit=2, samples=1))
    key = SampleKey(*plan.tasks[0].problems[0].key, 0)
    with RunStore.open_writer(tmp_path, lock=plan.lock, about=plan.about) as store:
        store.put_problems(plan.tasks[0].problems, {"arithmetic": 1})
        store.add_samples([Sample(key, 1, "text", (7, 8), "stop", 3)])
        store.add_grades([(key, Grade(Status.WRONG, "1", "integer"))], "g")
    page = (ROOT / "docs" / "run-directory.md").read_text()
    connection = sqlite3.connect(tmp_path / "samples.sqlite")
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        line = next(line for line in page.splitlines() if line.startswith(f"| `{table}` |"))
        for column in connection.execute(f"SELECT name FROM pragma_table_info('{table}')"):
            assert f"`{column[0]}`" in line
    for field in (*plan.lock["tasks"]["arithmetic"], *plan.lock["engine"], *plan.lock["model"], "seed"):
        assert re.search(rf"[`.]{field}`", page), field
    for field in plan.about:
        assert f"`{field}`" in page, field
    sql, python = re.findall(r"```(?:sql|python)\n(.*?)```", page, re.DOTALL)
    for query in sql.split(";\n")[:-1]:
        assert connection.execute(query).fetchall(), query
    names: dict[str, Any] = {}
    exec(python.replace('"samples.sqlite"', repr(str(tmp_path / "samples.sqlite"))), names)
    assert names["token_ids"] == [7, 8]


def test_the_readme_shows_what_the_first_command_prints(tmp_path: Path) -> None:
    """The same tables; the numbers within the error that they state, since another processor rounds otherwise."""
    shown = (ROOT / "README.md").read_text().split("```")[1].strip().splitlines()
    done = subprocess.run(
        [sys.executable, "-m", "tbrm_bench", "eval", "builtin:tiny", "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "80"},
    )
    printed = done.stdout.splitlines()
    for line in filter(str.strip, shown):
        assert masked(line) in map(masked, printed), line
    promised, error = scores(shown)
    measured, _ = scores(printed)
    assert abs(promised - measured) < 4 * error


def masked(line: str) -> str:
    """Return the line without its digits, bars and padding."""
    return re.sub(r"\s+", " ", re.sub(r"[0-9a-f]{12}|[▁▂▃▄▅▆▇█]+|[\d.]+|─+", "#", line)).strip()


def scores(lines: list[str]) -> tuple[float, float]:
    """Return avg@k and its standard error from the table."""
    found = next(match for line in lines if (match := re.search(r"([\d.]+) ± ([\d.]+)", line)))
    return float(found[1]), float(found[2])
