"""`tbench train`: the real command at toy size, and what a mistake looks like."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

TINY = Path(__file__).resolve().parents[3] / "train" / "recipes" / "tiny-sft.toml"
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tbench: Cli) -> Cli:
    """Run `tbench train WORDS`."""
    return partial(tbench, "train")


@pytest.fixture
def small_disk() -> Iterator[None]:
    """The fault: no file may grow beyond 100 KiB, and the weights are more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100 * 1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_command_writes_a_model_and_says_where_and_what_next(tmp_path: Path) -> None:
    output = tmp_path / "model"
    words = [TINY, f"output={output}", "optimizer.steps=2", "optimizer.batch_size=2"]
    command = [sys.executable, "-m", "tbrm_bench", "train", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}\n", "stdout is data"
    first, second, last = done.stderr.splitlines()
    assert first.startswith("step 1/2  loss 5.")
    assert second.startswith("step 2/2  loss 5.")
    assert last == f"next: tbench eval {output}"
    bundled = {"chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    assert {file.name for file in output.iterdir()} == bundled | {"tokenizer_config.json"}


def test_the_tab_key_offers_commands_shipped_recipes_and_recipes_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("mine/a.toml", "mine/rows.jsonl", "my.toml", "notes.md"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def offered(word: str) -> set[str]:
        asked = {"_TBENCH_COMPLETE": "complete_bash", "COMP_WORDS": f"tbench train {word}", "COMP_CWORD": "2"}
        command = [sys.executable, "-m", "tbrm_bench"]
        done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
        return set(done.stdout.split())

    shipped = {file.stem for file in TINY.parent.glob("*.toml")}
    assert offered("") == {"compare", "mine/", "my.toml"} | shipped
    assert offered("m") == {"mine/", "my.toml"}
    assert offered("mine/") == {"mine/a.toml"}
    assert offered("co") == {"compare"}


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "model"
    code, out, err = cli(TINY, f"output={output}", "optimizer.steps=1", "optimizer.batch_size=1")
    assert (code, out) == (1, "")
    _, line = err.splitlines()
    assert line.startswith(f"error: {output} cannot be written: ")
    assert "File too large" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.toml"], 2, ["nowhere.toml", "cannot be read"]),
        (["tiny-tbm"], 2, ["'tiny-tbm'", "did you mean 'tiny-tbrm'?"]),
        (["compare", "nowhere"], 2, ["'nowhere'", "tiny-sft"]),
        (["tiny-sft", "optimizer.stepz=2"], 2, ["tiny-sft.toml", "'stepz'"]),
        ([TINY, "optimizer.stepz=2"], 2, ["'stepz'", "did you mean 'steps'?"]),
        ([TINY, "optimizer.steps=two"], 2, ["optimizer.steps", "'two'", "a whole number"]),
        ([TINY, "optimizer.steps"], 2, ["key=value"]),
        ([TINY, "kind=ppo"], 2, ["kind", "'ppo'", "sft"]),
        ([TINY, "protocol=quikstart"], 2, ["'quikstart'", "'quickstart'"]),
        ([TINY, f"output={TINY}"], 2, [str(TINY), "is not a folder"]),
        ([TINY, f"output={TINY.parent}"], 2, [str(TINY.parent), "already holds files"]),
        ([TINY, f"output={TINY}/model"], 2, [f"{TINY} is not a folder"]),
        ([], 2, ["RECIPE"]),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(words: list[object], code: int, said: list[str], cli: Cli) -> None:
    found, out, err = cli(*words)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in said:
        assert part in err


@pytest.mark.parametrize("recipe", ["tiny-sft", "tiny-tbrm"])
def test_a_mistake_is_told_before_torch_is_loaded(recipe: str) -> None:
    code = (
        "import sys\n"
        "from tbrm_bench.cli.app import main\n"
        f"sys.argv = ['tbench', 'train', {recipe!r}, 'optimizer.steps=0']\n"
        "try: main()\n"
        "except SystemExit as left: print(left.code, {'torch', 'transformers', 'deepspeed', 'vllm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 set()\n"


def test_a_model_is_never_written_over(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "config.json").write_text("mine")
    found, out, err = cli(TINY, f"output={tmp_path}")
    assert (found, out) == (2, "")
    assert "or remove it" in err
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("config.json", "mine")]
