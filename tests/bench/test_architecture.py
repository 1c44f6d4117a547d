"""The shape of the house: imports go down and never in a circle, files and functions stay small, names stand once."""

import ast
import collections
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH, TRAIN = ROOT / "tbrm_bench", ROOT / "train" / "tbrm_train"
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 80

# The rooms of each package, floor by floor, from the ground up: a module imports from its own room and lower floors.
# A module that no floor names belongs to the package around it. CONTRIBUTING says what lies in which room.
FLOORS = {
    "tbrm_bench": (
        "tbrm_bench errors foreign interrupts missing nearest records",
        "config disk provenance resources seeds weight_files",
        "files fingerprints strict_json weights metrics",
        "grading.limits merge.checkpoint merge.refusals merge.machine merge.places",
        "grading.read merge.source",
        "grading.find grading.numbers merge.pieces",
        "grading.equal grading.normalize grading.second grading.verdicts merge.model",
        "grading.vote_classes merge.formats",
        "grading.workers merge",
        "grading store hub",
        "tasks.generators",
        "tasks",
        "prompts",
        "engines",
        "models diagnosis",
        "run adapters",
        "publish report",
        "leaderboard",
        "cli",
        "__main__",
    ),
    "tbrm_train": (
        "tbrm_train policy",
        "algorithms",
        "recipes",
        "data sft",
        "output rollout",
        "learner",
        "run",
        "comparison",
        "cli",
    ),
}
HEAVY = ("torch", "transformers", "vllm", "datasets", "scipy", "numpy", "sympy", "deepspeed", "huggingface_hub")
# Names that stand twice because both are what they are called: a command and its subject, and these.
MAX_STEMS_TWICE = 8


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def module_of(file: Path) -> str:
    """The dotted name under which a file is imported."""
    parts = file.relative_to(TRAIN.parent if TRAIN in file.parents else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> Mapping[str, Path]:
    return {module_of(file): file for file in sources(BENCH) + sources(TRAIN)}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, anywhere in it: in functions and for annotations alone too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else node.module


def floor_of(module: str) -> tuple[int, str]:
    """The floor and the room of a module: the longest name in the table that it begins with."""
    package, _, inner = module.partition(".")
    floors = {room: floor for floor, rooms in enumerate(FLOORS[package]) for room in rooms.split()}
    parts = inner.split(".") if inner else [package]
    for end in range(len(parts), 0, -1):
        if (room := ".".join(parts[:end])) in floors:
            return floors[room], room
    raise AssertionError(f"{module} is in no room: add it to FLOORS and to CONTRIBUTING")


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_down(module: str) -> None:
    floor, room = floor_of(module)
    for other in imported(ast.parse(modules()[module].read_text())):
        package = other.partition(".")[0]
        if package not in FLOORS:
            continue
        if package != module.partition(".")[0]:
            assert package == "tbrm_bench", "the bench never imports the trainer"
            continue
        other_floor, other_room = floor_of(other)
        assert other_floor < floor or other_room == room, f"{module} ({room}) imports {other} ({other_room})"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        module: {other for other in imported(ast.parse(file.read_text())) if other in modules() and other != module}
        for module, file in modules().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_a_name_stands_for_one_thing() -> None:
    classes, stems = collections.Counter[str](), collections.defaultdict[str, list[str]](list)
    for module, file in modules().items():
        classes.update(node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef))
        if file.name != "__init__.py":
            stems[file.stem].append(module)
    assert [name for name, count in classes.items() if count > 1] == []
    twice = [names for names in stems.values() if len(names) > 1 and not any(".cli." in name for name in names)]
    assert len(twice) <= MAX_STEMS_TWICE, twice


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
