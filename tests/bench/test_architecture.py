"""The shape of the house: imports go one way, files and functions stay small, the command line loads nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH, TRAIN = ROOT / "tbrm_bench", ROOT / "train" / "tbrm_train"
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 80

# A module imports only modules of a lower level, or of its own package. Levels of the design, told apart where modules
# of one level build on each other.
LEVELS = {
    "__init__": 0, "errors": 0.1, "foreign": 0.1, "interrupts": 0.1,
    "records": 0.1, "missing": 0.1, "provenance": 0.2, "seeds": 0.2, "weight_files": 0.2,
    "weights": 0.3, "disk": 0.15, "files": 0.2, "nearest": 0.1, "config": 0.2, "strict_json": 0.3,
    "finish_reasons": 0.3, "fingerprints": 0.3,
    "resources": 1, "metrics": 1, "grading": 1, "store": 1,
    "tasks": 2, "sources": 2.1, "golds": 2.2, "generators": 1.9, "problems": 2.3, "protocols": 2.1, "prompts": 2.2,
    "tokenizer": 2, "turns": 2.15,
    "engines": 3, "hub": 3, "merge": 3, "class_fit": 3.1, "models": 3.1, "model_door": 3.2,
    "result_json": 4, "score": 4.1, "results": 4.3, "plan": 4, "prepare": 4.1, "pipeline": 4.2, "task_check": 4,
    "grade_lines": 4, "second_opinion": 4,
    "report": 5, "leaderboard": 5.1, "compare": 5, "diagnosis": 5, "publish": 5,
    "cli": 6, "__main__": 7,
}  # fmt: skip
HEAVY = ("torch", "transformers", "vllm", "datasets", "scipy", "numpy", "sympy", "deepspeed", "huggingface_hub")


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def unit(module: str) -> str:
    """The level table's name of a module: its first part below the package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("file", sources(BENCH), ids=lambda file: str(file.relative_to(BENCH)))
def test_imports_go_down(file: Path) -> None:
    parts = file.relative_to(BENCH).with_suffix("").parts
    own = parts[0]
    assert own in LEVELS, f"{own} has no level: add it to the table and to CONTRIBUTING"
    for module in imported(ast.parse(file.read_text())):
        assert not module.startswith("tbrm_train"), "the bench never imports the trainer"
        if not module.startswith("tbrm_bench"):
            continue
        other = unit(module)
        assert LEVELS[other] < LEVELS[own] or other == own, f"{own} imports {other}"


@pytest.mark.parametrize("file", sources(BENCH) + sources(TRAIN), ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_are_small_and_say_what_they_are(file: Path) -> None:
    text = file.read_text()
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "a file opens with what it is"
    assert text.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, node.name
            if not node.name.startswith("_") and node.name != "__init__" and not _is_nested(tree, node):
                assert ast.get_docstring(node) or _is_trivial(node), f"{node.name} has no docstring"


def _is_nested(tree: ast.Module, function: ast.FunctionDef) -> bool:
    tops = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return any(function in ast.walk(top) and function is not top for top in tops)


def _is_trivial(function: ast.FunctionDef) -> bool:
    return len(function.body) <= 2


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['tbench', '--help']\n"
        "from tbrm_bench.cli.app import main\n"
        "try: main()\n"
        f"except SystemExit: print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in output


def test_heavy_packages_are_imported_where_they_belong() -> None:
    homes = {
        "vllm": {"tbrm_bench/engines/vllm.py", "train/tbrm_train/rollout/sampling.py"},
        "deepspeed": {"train/tbrm_train/learner/deepspeed_engine.py"},
        "huggingface_hub": {path.relative_to(ROOT).as_posix() for path in sources(BENCH / "hub")},
        "rich": {"tbrm_bench/report/terminal.py"},
    }
    for file in sources(BENCH) + sources(TRAIN):
        name = file.relative_to(ROOT).as_posix()
        for module in imported(ast.parse(file.read_text())):
            top = module.partition(".")[0]
            in_cli = name.startswith(("tbrm_bench/cli/", "train/tbrm_train/cli/"))
            if top in homes and not (top == "rich" and in_cli):
                assert name in homes[top], f"{name} imports {module}"
