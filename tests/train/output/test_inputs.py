"""What a training is made of is known by content: what has changed between two starts is refused by its name."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tbrm_bench.errors import UserError
from tbrm_bench.resources import builtin_model_dir, data_dir
from tbrm_bench.store.run_file import read_run_file
from tbrm_bench.weights import weights_fingerprint
from tbrm_train.data.prompts import load_source
from tbrm_train.learner.deepspeed_engine import Processes
from tbrm_train.output.checkpoint import INPUTS, LOCK, VALUES
from tbrm_train.output.inputs import Inputs, read_inputs
from tbrm_train.recipes.rl_recipe import Prompts
from tbrm_train.run import session

Runs = Any  # of conftest.py
ROWS = ("prompts.source=rows", "prompts.rows.files=['rows.jsonl']", "prompts.rows.question=q", "prompts.rows.answer=a")
ASTARPO = (
    'algorithm={name="astarpo", beta=0.02, value_samples=2}',
    *("rollout.samples_per_prompt=1", "rollout.prompts_per_step=8"),
)
THIRD_STEP = ("tbrm_train.run.loop._roll_out", 3)


@dataclass(frozen=True)
class Given:
    """A model, a protocol and rows of one's own, in a folder; the model's path is a link."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Given":
        """Copy the bundled model, a protocol and the questions of 24 rows."""
        shutil.copytree(builtin_model_dir("tiny"), folder / "step-1")
        (folder / "best").symlink_to("step-1")
        shutil.copy(data_dir("tasks") / "protocols" / "quickstart.toml", folder / "own.toml")
        problems = load_source(Prompts("builtin:arithmetic", "quickstart", num_prompts=24), seed=1)
        rows = [{"q": problem.question, "a": problem.gold.answers[0]} for problem in problems]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return cls(folder)

    @property
    def model(self) -> Path:
        """The folder that the link points to at first."""
        return self.folder / "step-1"

    def words(self, output: Path) -> tuple[str, ...]:
        """Return the words of a training on these, in short steps."""
        own = (f"model={self.folder / 'best'}", f"prompts.protocol={self.folder / 'own.toml'}", f"output={output}")
        return (*own, *ROWS, f"prompts.data_dir={self.folder}", "evaluation.protocol=quickstart")


def move_weights(model: Path) -> None:
    """Change the weights a little, under the same names."""
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 1.5
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def move_link(given: Given) -> None:
    """Point the link to another checkpoint, which keeps the first one as it was."""
    shutil.copytree(given.model, given.folder / "step-2")
    move_weights(given.folder / "step-2")
    (given.folder / "best").unlink()
    (given.folder / "best").symlink_to("step-2")


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def edit_json(file: Path, **values: Any) -> None:
    """Set keys of a JSON table."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def edit_rows(given: Given, change: Callable[[int, dict[str, str]], dict[str, str]]) -> None:
    """Change every row, given its number."""
    file = given.folder / "rows.jsonl"
    rows = [change(number, json.loads(line)) for number, line in enumerate(file.read_text().splitlines())]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def ask_reversed(given: Given) -> None:
    """Give each number the row of another: the same questions, by other numbers."""
    file = given.folder / "rows.jsonl"
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))


# What may change behind a name, and what the error calls it.
CHANGES: dict[str, tuple[Callable[[Given], None], str]] = {
    "weights in place": (lambda given: move_weights(given.model), "model.weights is "),
    "a link that has moved": (move_link, "step-1"),
    "the config": (lambda given: edit_json(given.model / "config.json", rms_norm_eps=1e-3), "model.config is "),
    "how tokens are decoded": (
        lambda given: edit_json(given.model / "tokenizer.json", decoder=None),
        "tokenizer is ",
    ),
    "another end of turn": (
        lambda given: edit_json(given.model / "generation_config.json", eos_token_id=[2, 7]),
        "prompts.stop_token_ids is ",
    ),
    "the protocol's text": (
        lambda given: edit(given.folder / "own.toml", "reason step by step", "think step by step"),
        "prompts.train.tokens is ",
    ),
    "golds": (lambda given: edit_rows(given, lambda n, row: {**row, "a": "7"}), "prompts.train.golds is "),
    "questions": (ask_reversed, "prompts.train.tokens is "),
    "one row fewer": (
        lambda given: edit_rows(given, lambda n, row: {"q": "What is 1?", "a": "1"} if n < 2 else row),
        "prompts.train.number is 19, it was 20",
    ),
}


@dataclass(frozen=True)
class Killed:
    """A training that was killed in its third step, and the files of one that was not."""

    given: Path
    output: Path
    straight: dict[str, bytes]


def files(output: Path) -> dict[str, bytes]:
    """Return what must not depend on kills."""
    names = ("metrics.jsonl", "validation.jsonl", "model.safetensors", VALUES)
    return {str(path.relative_to(output)): path.read_bytes() for name in names for path in output.rglob(name)}


def everything(output: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    files = [path for path in output.rglob("*") if path.is_file() and path.name != LOCK]  # which names its last holder
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def error_of(done: Any) -> str:
    """Return the one line that a training ended with."""
    assert "Traceback" not in done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    return str(line)


def kill_and_train(runs: Runs, folder: Path, *words: str) -> Killed:
    given = Given.make(folder)
    done = runs.train("tiny-tbrm", *given.words(folder / "straight"), *words)
    assert done.codes == [0], done.err
    killed = runs.train("tiny-tbrm", *given.words(folder / "killed"), *words, kill=THIRD_STEP)
    assert killed.codes == [-9]
    return Killed(folder, folder / "killed", files(folder / "straight"))


@pytest.fixture(scope="module")
def killed(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return kill_and_train(runs, tmp_path_factory.mktemp("tbrm") / "given")


@pytest.fixture(scope="module")
def killed_astarpo(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return kill_and_train(runs, tmp_path_factory.mktemp("astarpo") / "given", *ASTARPO)


def copy_of(killed: Killed, folder: Path) -> tuple[Given, Path]:
    """Return a copy of all that a killed training was given and of its own folder, as if it had lain there at first."""
    shutil.copytree(killed.given, folder / "given", symlinks=True)
    for name in ("killed", "straight"):
        edit(folder / "given" / name / "recipe.toml", str(killed.given), str(folder / "given"))
    return Given(folder / "given"), folder / "given" / "killed"


@pytest.mark.parametrize("name", CHANGES)
def test_an_input_that_has_changed_is_refused_by_name_and_touches_nothing(
    name: str, killed: Killed, runs: Runs, tmp_path: Path
) -> None:
    given, output = copy_of(killed, tmp_path)
    change, said = CHANGES[name]
    change(given)
    before = everything(output)
    done = runs.train("tiny-tbrm", *given.words(output))
    assert done.codes == [2], done.err
    line = error_of(done)
    assert line.startswith(f"error: {output} was started with another input: ")
    assert said in line
    assert line.endswith("restore it, or give another folder, output=DIR")
    assert everything(output) == before


def test_which_answers_count_is_stored_and_held_to(killed: Killed, runs: Runs, tmp_path: Path) -> None:
    given, output = copy_of(killed, tmp_path)
    done = runs.train("tiny-tbrm", *given.words(output), "rewards.strict_boxed=false")
    assert "prompts.strict_boxed is false, it was true; " in error_of(done)
    assert "; set rewards.strict_boxed to what it was, or give another folder" in error_of(done)
    done = runs.train("tiny-tbrm", *given.words(output), "rewards.answer_tags=true")
    assert "prompts.answer_tags is true, it was missing" in error_of(done)


def test_the_same_inputs_under_other_names_go_on_to_the_same_bytes(killed: Killed, runs: Runs, tmp_path: Path) -> None:
    """Everything lies elsewhere, the link is a folder, the config says where it came from and limits are raised."""
    given, output = copy_of(killed, tmp_path)
    edit(output / "recipe.toml", str(given.folder), "/elsewhere")
    (given.folder / "best").unlink()
    (given.folder / "step-1").rename(given.folder / "best")
    edit_json(given.folder / "best" / "config.json", _name_or_path="/elsewhere", transformers_version="4.57.6")
    done = runs.train("tiny-tbrm", *given.words(output), "rewards.time_limit_s=9")
    assert done.codes == [0], done.err
    assert "warning" not in done.err
    assert files(output) == killed.straight


def test_what_was_started_before_inputs_were_stored_goes_on_with_a_warning(
    killed: Killed, runs: Runs, tmp_path: Path
) -> None:
    given, output = copy_of(killed, tmp_path)
    (output / INPUTS).unlink()
    done = runs.train("tiny-tbrm", *given.words(output), f"model={given.model}")
    assert done.codes == [2]
    assert "was started by another recipe: " in error_of(done), "here names are all there is"
    done = runs.train("tiny-tbrm", *given.words(output), kill=("tbrm_train.run.loop._roll_out", 1))
    assert "started before inputs were stored: nothing shows that model, tokenizer, prompts and golds are" in done.err
    stored = read_inputs(output)
    assert stored is not None
    assert stored.from_step == 2
    move_weights(given.model)
    done = runs.train("tiny-tbrm", *given.words(output))
    assert "model.weights is " in error_of(done), "from now on they are held to what was found"


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 1, "facts": [], "about": {}, "from_step": 0}'])
def test_damaged_inputs_are_one_line(text: str, killed: Killed, runs: Runs, tmp_path: Path) -> None:
    given, output = copy_of(killed, tmp_path)
    (output / INPUTS).write_text(text)
    done = runs.train("tiny-tbrm", *given.words(output))
    assert done.codes == [1]
    assert f"{output / INPUTS} cannot be read" in error_of(done)


def test_other_versions_are_told_and_not_refused(killed: Killed, runs: Runs, tmp_path: Path) -> None:
    given, output = copy_of(killed, tmp_path)
    stored = json.loads((output / INPUTS).read_text())
    stored["about"]["versions"]["torch"] = "1.0"
    (output / INPUTS).write_text(json.dumps(stored))
    done = runs.train("tiny-tbrm", *given.words(output))
    assert done.codes == [0], done.err
    assert f"warning: {output} was started with other versions: torch 1.0, now {torch.__version__}" in done.err
    assert files(output) == killed.straight


def test_a_finished_training_is_not_called_done_with_other_inputs(killed: Killed, runs: Runs, tmp_path: Path) -> None:
    given, output = copy_of(killed, tmp_path)
    output = output.with_name("straight")
    best = (output / "checkpoints" / "best").resolve()
    (output / "checkpoints" / "best").unlink()
    done = runs.train("tiny-tbrm", *given.words(output))
    assert done.codes == [0], done.err
    assert (output / "checkpoints" / "best").resolve() == best, "a kill may come before the link"
    move_weights(given.model)
    done = runs.train("tiny-tbrm", *given.words(output))
    assert done.codes == [2]
    assert "was started with another input: model.weights is " in error_of(done)
    shutil.rmtree(given.model)
    done = runs.train("tiny-tbrm", *given.words(output))
    assert done.codes == [0], done.err
    assert "is finished, but its inputs cannot be checked" in done.err


def test_every_process_refuses(runs: Runs, tmp_path: Path) -> None:
    given = Given.make(tmp_path / "given")
    words = given.words(tmp_path / "run")
    assert runs.train("tiny-tbrm", *words, world_size=2, kill=("tbrm_train.run.loop._roll_out", 2)).codes == [-9, -9]
    before = everything(tmp_path / "run")
    move_weights(given.model)
    done = runs.train("tiny-tbrm", *words, world_size=2)
    assert done.codes == [2, 2]
    assert done.err.count("model.weights is ") == 2
    assert everything(tmp_path / "run") == before


def test_what_cannot_be_loaded_has_not_been_started(runs: Runs, tmp_path: Path) -> None:
    """The fault: a tokenizer and a config with weights that are another model's. Mended, the training starts."""
    given = Given.make(tmp_path / "given")
    whole = (given.model / "model.safetensors").read_bytes()
    (given.model / "model.safetensors").write_bytes(whole[:-10])
    done = runs.train("tiny-tbrm", *given.words(tmp_path / "run"))
    assert done.codes == [2], done.err
    (given.model / "model.safetensors").write_bytes(whole)
    done = runs.train("tiny-tbrm", *given.words(tmp_path / "run"), "optimizer.steps=4")
    assert done.codes == [0], done.err


def test_values_belong_to_their_questions(killed_astarpo: Killed, runs: Runs, tmp_path: Path) -> None:
    """Without stored inputs too: V* of a row's number is not V* of what the row asks now."""
    given, output = copy_of(killed_astarpo, tmp_path)
    (output / INPUTS).unlink()
    rows = (given.folder / "rows.jsonl").read_text()
    ask_reversed(given)
    before = everything(output)
    done = runs.train("tiny-tbrm", *given.words(output), *ASTARPO)
    assert done.codes == [2], done.err
    assert f"{output / VALUES} has V* of other questions than this training asks: the digest of " in error_of(done)
    assert everything(output) == before
    (given.folder / "rows.jsonl").write_text(rows)
    done = runs.train("tiny-tbrm", *given.words(output), *ASTARPO)
    assert done.codes == [0], done.err
    assert files(output) == killed_astarpo.straight


def test_a_question_without_a_value_is_named_and_values_without_digests_are_taken(
    killed_astarpo: Killed, runs: Runs, tmp_path: Path
) -> None:
    given, output = copy_of(killed_astarpo, tmp_path)
    stored = json.loads((output / VALUES).read_text())
    del stored["questions"]
    missing = next(iter(stored["values"]))
    value = stored["values"].pop(missing)
    (output / VALUES).write_text(json.dumps(stored))
    done = runs.train("tiny-tbrm", *given.words(output), *ASTARPO)
    assert done.codes == [2], done.err
    assert f"the digest of {missing} is " in error_of(done)
    stored["values"][missing] = value
    (output / VALUES).write_text(json.dumps(stored))
    done = runs.train("tiny-tbrm", *given.words(output), *ASTARPO)
    assert done.codes == [0], done.err
    models = {name: data for name, data in files(output).items() if name != VALUES}
    assert models == {name: data for name, data in killed_astarpo.straight.items() if name != VALUES}


@pytest.mark.parametrize("is_whole", [True, False], ids=["finished", "killed"])
def test_a_score_belongs_to_the_weights_that_it_was_measured_on(is_whole: bool, runs: Runs, tmp_path: Path) -> None:
    """The fault: the last step's evaluation is of other weights, as if the step had been recomputed."""
    given, output = Given.make(tmp_path / "given"), tmp_path / "run"
    edit(given.folder / "own.toml", "samples = 8", "samples = 1")
    edit(given.folder / "own.toml", "max_tokens = 96", "max_tokens = 8")
    words = (*given.words(output), "evaluation.tasks=['arithmetic']")
    words = (*words, f"evaluation.protocol={given.folder / 'own.toml'}")
    words = (*words, "optimizer.steps=2", "optimizer.learning_rate=1e-2")
    done = runs.train("tiny-tbrm", *words)
    assert done.codes == [0], done.err
    first, last = output / "eval" / "step-000001", output / "eval" / "step-000002"
    right = json.loads((last / "results.json").read_text())["tasks"]
    shutil.rmtree(last)
    shutil.copytree(first, last)
    if not is_whole:
        (last / "results.json").unlink()
    done = runs.train("tiny-tbrm", *words)
    assert done.codes == [0], done.err
    assert f"warning: {last} has scores of other weights than those of {output / 'checkpoints' / last.name}" in done.err
    for folder in (first, last):
        scored = read_run_file(folder).lock["model"]["weights"]
        assert scored == weights_fingerprint(output / "checkpoints" / folder.name)
    assert json.loads((last / "results.json").read_text())["tasks"] == right
    times = {path: path.stat().st_mtime_ns for path in (first / "results.json", last / "results.json")}
    assert runs.train("tiny-tbrm", *words).codes == [0]
    assert {path: path.stat().st_mtime_ns for path in times} == times, "what is right is kept"


def test_processes_that_read_different_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault: another machine has another model under the same path."""
    facts: dict[str, Any] = {"model": {"weights": "a" * 64, "config": "c" * 64}, "tokenizer": "t" * 64}
    given: Any = SimpleNamespace(inputs=lambda reads_weights: Inputs(facts, {}))

    def agree(**model: str | None) -> Inputs:
        other = Inputs({**facts, "model": {**facts["model"], **model}}, {})
        monkeypatch.setattr(session, "gather", lambda mine, processes, concat: [*mine, (other, None)])
        return session._agreed_inputs(tmp_path, given, Processes(0, 2, "cpu"))[0]

    assert agree(weights=None).facts == facts, "a second process of the same machine reads no weights"
    with pytest.raises(UserError, match=r"model\.weights is bbbbbbbbbbbb in process 1 and aaaaaaaaaaaa in process 0"):
        agree(weights="b" * 64)
