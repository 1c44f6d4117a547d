"""`--task ./mine.toml`: a task from any folder, rows beside it or not, digests or not; each mistake is one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.resources import data_dir

Cli = Callable[..., tuple[int, str, str]]
TASK = 'title = "Sums"\nnum_rows = 3\ngold_rule = "integer"\n[columns]\nquestion = ["q"]\nanswer = ["a"]\nid = ["id"]\n'
ROWS = [{"id": 7, "q": "What is 20 + 3?", "a": "023"}, {"id": 8, "q": "2 - 5?", "a": -3}, {"id": 9, "q": "9?", "a": 9}]


@pytest.fixture
def cli(tbench: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run `tbench WORDS` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tbench


def write(folder: Path, name: str = "mine", text: str = TASK, rows: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in (ROWS if rows is None else rows)]
    (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / f"{name}.toml").write_text(text)
    return folder / f"{name}.toml"


def lock(cli: Cli, *words: str) -> dict[str, Any]:
    code, out, err = cli("eval", "builtin:tiny", "--protocol", "quickstart", "--dry-run", "--json", *words)
    assert code == 0, err
    found = json.loads(out)["lock"]
    assert isinstance(found, dict)
    return found


def test_a_lock_names_the_task_and_its_rows_and_never_a_path(cli: Cli, tmp_path: Path) -> None:
    here, there = write(tmp_path / "here"), write(tmp_path / "there")
    (tmp_path / "here" / "mine.jsonl").rename(tmp_path / "mine.jsonl")
    first = lock(cli, "--task", str(here), "--data", str(tmp_path))
    assert first == lock(cli, "--task", "there/mine.toml") == lock(cli, "--task", str(there), "--data", "here")
    assert list(first["tasks"]) == ["mine"]
    assert str(tmp_path) not in json.dumps(first)
    write(tmp_path / "there", rows=[{**ROWS[0], "a": "24"}, *ROWS[1:]])
    assert lock(cli, "--task", str(there))["tasks"]["mine"]["rows"] != first["tasks"]["mine"]["rows"]
    assert list(lock(cli, "--task", "there/mine.toml", "--task", str(there), "--task", "arithmetic")["tasks"]) == [
        "mine",
        "arithmetic",
    ]


def test_rows_are_unverified_until_digests_are_made_and_refused_when_they_differ(cli: Cli, tmp_path: Path) -> None:
    task = str(write(tmp_path / "own"))
    made = f"mkdir -p {tmp_path}/own/golds; tbench tasks digest {task} > {tmp_path}/own/golds/mine.txt"
    code, out, _ = cli("tasks", "check", "--task", task)
    assert code == 0
    assert made in out.replace("\n", " ")
    assert " ok" not in out
    _, _, err = cli("eval", "builtin:tiny", "--task", task, "--protocol", "quickstart", "--dry-run")
    assert all(part in err for part in ("not verified", made))
    (tmp_path / "own" / "golds").mkdir()
    (tmp_path / "own" / "golds" / "mine.txt").write_text(cli("tasks", "digest", task)[1])
    code, out, _ = cli("tasks", "check", "--task", task)
    assert (code, "verified" in out) == (0, False)
    write(tmp_path / "own", rows=[{**ROWS[0], "a": "24"}, *ROWS[1:]])
    code, out, _ = cli("tasks", "check", "--task", task)
    assert code == 1
    assert "gold of 7 at mine.jsonl:1 is '24'" in out


def test_show_and_export_take_a_file(cli: Cli, tmp_path: Path) -> None:
    task = str(write(tmp_path / "own"))
    assert json.loads(cli("tasks", "show", task, "--json")[1])["name"] == "mine"
    assert cli("tasks", "export", task, "out.jsonl")[0] == 0
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["answers"] == ["23"]


def test_a_shipped_task_by_its_file_is_the_shipped_task(cli: Cli) -> None:
    assert lock(cli, "--task", str(data_dir("tasks") / "arithmetic.toml")) == lock(cli, "--task", "arithmetic")


def test_a_protocol_may_have_a_table_for_the_task(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)
    text = (data_dir("tasks") / "protocols" / "quickstart.toml").read_text()
    table = "\n[task_sampling.{}]\nsamples = 1\ntemperature = 0.5\ntop_p = 1.0\nmax_tokens = 9\n"
    (tmp_path / "p.toml").write_text(text + table.format("mine"))
    words = ("eval", "builtin:tiny", "--protocol", "p.toml", "--dry-run", "--json", "--task")
    assert json.loads(cli(*words, "mine.toml")[1])["tasks"][0]["max_tokens"] == 9
    code, _, err = cli(*words, "arithmetic")
    assert (code, "[task_sampling.mine] names no task" in err) == (2, True)


@pytest.mark.parametrize(
    ("prepare", "task", "code", "said"),
    [
        (lambda f: write(f, "aime24"), "aime24.toml", 2, "'aime24' is the name of a task that is shipped"),
        (lambda f: write(f), "gone.toml", 2, "gone.toml cannot be read: No such file"),
        (lambda f: (f / "d.toml").mkdir(), "d.toml", 2, "d.toml cannot be read: Is a directory"),
        (lambda f: write(f), "mine.jsonl", 2, "is not a task file; its name must end in .toml"),
        (lambda f: write(f), "mine", 2, "give mine.toml"),
        (lambda f: write(f, text="[[["), "mine.toml", 2, "mine.toml is not valid TOML"),
        (lambda f: write(f, text='[project]\nname = "x"'), "mine.toml", 2, "mine.toml has no key 'project'"),
        (lambda f: write(f, "a\x1b[31m"), "a\x1b[31m.toml", 2, "rename the file"),
        (lambda f: write(f).with_suffix(".jsonl").unlink(), "mine.toml", 3, "no mine.jsonl or mine.parquet beside"),
        (lambda f: write(f, rows=ROWS[:2]), "mine.toml", 2, "task mine: 2 rows found, 3 expected"),
        (lambda f: write(f, rows=[*ROWS[:2], ROWS[0]]), "mine.toml", 2, "id '7' is at mine.jsonl:1 and again"),
        (
            lambda f: rewrite(f, '"a": -3', '"a": -3, "a": 4'),
            "mine.toml",
            2,
            "mine.jsonl:2: not a JSON object (the key 'a'",
        ),
        (lambda f: rewrite(f, "2 - 5", "\\ud800"), "mine.toml", 2, "mine.jsonl:2: not a JSON object"),
        (lambda f: write(f, text='cluster_rule = "builtin"\n' + TASK), "mine.toml", 2, "cluster_rule 'builtin' is"),
        (lambda f: (f / "zero.toml").symlink_to("/dev/zero"), "zero.toml", 2, "zero.toml has more than"),
        (lambda f: digests(f, "nonsense"), "mine.toml", 2, "golds/mine.txt:1: 'nonsense' is not"),
        (lambda f: digests(f, "7 00000000\n" * 2), "mine.toml", 2, "golds/mine.txt:2"),
    ],
)
def test_a_mistake_is_one_line(
    cli: Cli, tmp_path: Path, prepare: Callable[[Path], object], task: str, code: int, said: str
) -> None:
    prepare(tmp_path)
    left, out, err = cli("eval", "builtin:tiny", "--dry-run", "--task", task)
    assert (left, out, err.count("\n")) == (code, "", 1), err
    assert said in err


def rewrite(folder: Path, old: str, new: str) -> None:
    rows = write(folder).with_suffix(".jsonl")
    rows.write_text(rows.read_text().replace(old, new))


def digests(folder: Path, text: str) -> None:
    write(folder)
    (folder / "golds").mkdir()
    (folder / "golds" / "mine.txt").write_text(text)


def test_two_files_of_one_name_are_refused(cli: Cli, tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    code, _, err = cli("eval", "builtin:tiny", "--dry-run", "--task", str(one), "--task", str(other))
    assert (code, "both called 'mine'" in err, err.count("\n")) == (2, True, 1)


def test_a_task_that_makes_its_rows_needs_no_digests(cli: Cli) -> None:
    code, _, err = cli("tasks", "digest", "arithmetic")
    assert (code, "it needs no digests" in err, err.count("\n")) == (2, True, 1)


def test_a_stored_run_is_graded_without_the_tasks_file(cli: Cli, tmp_path: Path) -> None:
    task = write(tmp_path / "own")
    words = ("--engine", "hf", "--protocol", "quickstart", "--samples", "1", "--max-tokens", "4", "--out", "run")
    code, out, err = cli("eval", "builtin:tiny", "--task", str(task), "--json", *words)
    assert code == 0, err
    shutil.rmtree(task.parent)
    code, again, err = cli("grade", "run", "--json")
    assert (code, json.loads(again)["changes"]) == (0, []), err
    assert json.loads((tmp_path / "run" / "results.json").read_text())["tasks"] == json.loads(out)["tasks"]
    code, shown, err = cli("explain", "run", "mine/7/0")
    assert (code, "gold      23" in shown) == (0, True), err
