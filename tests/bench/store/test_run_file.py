"""The lock: what decides samples is in it, what does not is not, and runs of version 1 open, score and resume."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tbrm_bench.errors import UserError
from tbrm_bench.fingerprints import code_fingerprint, tokenizer_fingerprint
from tbrm_bench.prompts.render import load_tokenizer
from tbrm_bench.provenance import digest
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.run.comparison import compare_runs
from tbrm_bench.run.pipeline import regrade
from tbrm_bench.run.plan import EvalOptions, Plan, Settings
from tbrm_bench.run.prepare import prepare
from tbrm_bench.run.results import shown_result
from tbrm_bench.store import RunStore
from tbrm_bench.store.run_file import as_version_1, read_run_file

# A run of two samples of twelve problems, as version 0.1.0 wrote it before locks had versions and results had proofs.
RUN_V1 = Path(__file__).resolve().parents[2] / "golden" / "run_v1"
NEW_ID = 318  # the first that the vocabulary leaves free
ANSWER = [223, 51, NEW_ID, 60]  # " Q", a token to come, "Z"
Json = dict[str, Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return shutil.copytree(builtin_model_dir("tiny"), tmp_path / "model")


@pytest.fixture
def run_v1(tmp_path: Path) -> Path:
    return shutil.copytree(RUN_V1, tmp_path / "run_v1")


def planned(model: Path | str, **changes: Any) -> Plan:
    options = EvalOptions(str(model), ("arithmetic",), "quickstart", "hf", samples=2, limit=12)
    return prepare(replace(options, **changes))


def edit(file: Path, change: Callable[[Json], object]) -> None:
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data, indent=1))


def swap_two_spellings(data: Json) -> None:
    """Exchange two tokens that no prompt holds: the prompts stay, the answers read otherwise."""
    vocabulary = data["model"]["vocab"]
    one, other = "Q", "Z"
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]


def another_added_token(data: Json) -> None:
    data["added_tokens"].append({**data["added_tokens"][-1], "id": NEW_ID, "content": "<|tool|>", "special": False})


@pytest.mark.parametrize("change", [swap_two_spellings, another_added_token])
def test_a_tokenizer_that_changed_in_place_is_another_lock(
    model: Path, tmp_path: Path, change: Callable[[Json], object]
) -> None:
    before, read = planned(model, out=tmp_path / "run"), load_tokenizer(model).decode(ANSWER, skip_special_tokens=True)
    with RunStore.open_writer(before.run_dir, lock=before.lock, about=before.about):
        pass
    edit(model / "tokenizer.json", change)
    assert load_tokenizer(model).decode(ANSWER, skip_special_tokens=True) != read
    after = planned(model, out=tmp_path / "run")
    assert after.lock["tasks"] == before.lock["tasks"], "the prompts alone do not tell"
    with pytest.raises(UserError, match=r"another lock: model\.tokenizer is"):
        RunStore.open_writer(after.run_dir, lock=after.lock, about=after.about)


def test_a_decoder_that_is_read_from_the_file_is_fingerprinted(model: Path) -> None:
    """The class of this family puts its own in the place of the file's, so that the plain class is loaded here."""
    before = PreTrainedTokenizerFast.from_pretrained(str(model))
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    edit(
        model / "tokenizer.json",
        lambda data: data.update(decoder={"type": "Sequence", "decoders": [data["decoder"], strip]}),
    )
    after = PreTrainedTokenizerFast.from_pretrained(str(model))
    assert before.decode(ANSWER) != after.decode(ANSWER)
    assert before("What is 3?")["input_ids"] == after("What is 3?")["input_ids"]
    assert tokenizer_fingerprint(before, model) != tokenizer_fingerprint(after, model)


def save_again(model: Path) -> None:
    load_tokenizer(model).save_pretrained(str(model))


def lay_out_anew(model: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        edit(model / name, lambda data: data.update(dict(sorted(data.items(), reverse=True))))


def name_another_origin(model: Path) -> None:
    edit(model / "tokenizer_config.json", lambda data: data.update(name_or_path="/elsewhere", transformers_version="9"))


def pad_and_truncate(model: Path) -> None:
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    padding |= {"pad_type_id": 0, "pad_token": "<|endoftext|>"}
    edit(model / "tokenizer.json", lambda data: data.update(padding=padding))


@pytest.mark.parametrize("change", [save_again, lay_out_anew, name_another_origin, pad_and_truncate])
def test_what_changes_no_sample_keeps_the_lock(model: Path, change: Callable[[Path], object]) -> None:
    before = planned(model).lock
    change(model)
    assert planned(model).lock == before


def test_the_tokenizer_of_the_models_own_code_is_fingerprinted_by_its_files(tmp_path: Path) -> None:
    class Own:
        """No fast one: nothing but a vocabulary and files."""

        all_special_ids = (2, 0)

        def get_vocab(self) -> dict[str, int]:
            return {"a": 1, "b": 2}

    (tmp_path / "qwen.tiktoken").write_text("YQ== 1\n")
    before = tokenizer_fingerprint(Own(), tmp_path)
    (tmp_path / "README.md").write_text("nothing to do with it")
    assert tokenizer_fingerprint(Own(), tmp_path) == before
    (tmp_path / "qwen.tiktoken").write_text("YQ== 2\n")
    assert tokenizer_fingerprint(Own(), tmp_path) != before


OWN_CODE = """
from transformers import Qwen2Tokenizer


class OwnTokenizer(Qwen2Tokenizer):
    def decode(self, *args, **options):
        return super().decode(*args, **options)%s
"""


def test_code_that_is_trusted_is_in_the_lock(model: Path, tmp_path: Path) -> None:
    (model / "own.py").write_text(OWN_CODE % "")
    edit(
        model / "tokenizer_config.json",
        lambda data: data.update(auto_map={"AutoTokenizer": ["own.OwnTokenizer", None]}),
    )
    trusted, distrusted = Settings(trust_remote_code=True), Settings()
    before = planned(model, settings=trusted).lock["model"]
    assert "code" not in planned(model, settings=distrusted).lock["model"]
    (model / "own.py").write_text(OWN_CODE % ".upper()")
    after = planned(model, settings=trusted).lock["model"]
    assert {name for name in after if after[name] != before[name]} == {"code"}


def test_code_that_no_config_names_is_not(model: Path) -> None:
    (model / "helper.py").write_text("print(1)")
    assert code_fingerprint(model) is None
    edit(model / "config.json", lambda data: data.update(auto_map={"AutoModelForCausalLM": "modeling_x.X"}))
    (model / "nested").mkdir()
    before = code_fingerprint(model)
    for file in (model / ".cache.py", model / "notes.txt"):
        file.write_text("")
        assert code_fingerprint(model) == before
    (model / "nested" / "layer.py").write_text("x = 1")
    assert code_fingerprint(model) != before


def asked(stored: Json, **changes: Any) -> Json:
    """Return what this version asks for where the first one has stored this lock."""
    return {"version": 2, **stored, "model": {**stored["model"], "tokenizer": "t" * 64, "code": "c" * 64}, **changes}


def test_a_run_of_version_1_opens_and_scores(run_v1: Path) -> None:
    stored = json.loads((run_v1 / "results.json").read_text())
    result, note = shown_result(run_v1)
    assert note is None
    assert result.tasks[0].avg == stored["tasks"][0]["avg"] == pytest.approx(19 / 24)
    with RunStore.open_reader(run_v1) as store:
        assert store.last_grader() == "tbrm-1"
        assert store.about["protocol"] == "quickstart"
    again, changes = regrade(run_v1)
    assert changes == []
    assert again.tasks[0].avg == result.tasks[0].avg
    assert shown_result(run_v1)[1] is None


def test_a_run_of_version_1_resumes_by_its_own_fields_and_stays_what_it_is(run_v1: Path) -> None:
    before = (run_v1 / "run.json").read_bytes()
    stored = dict(read_run_file(run_v1).lock)
    with RunStore.open_writer(run_v1, lock=asked(stored), about={}) as store:
        store.put_problems([], {"arithmetic": 3})
        assert len(list(store.missing("arithmetic"))) == 12
    assert (run_v1 / "run.json").read_bytes() == before
    for field, other in [
        ("seed", asked(stored, seed=1)),
        ("model.weights", asked(stored | {"model": {"weights": "w"}})),
    ]:
        with pytest.raises(UserError, match=f"another lock: {field} is"):
            RunStore.open_writer(run_v1, lock=other, about={})
    # What changes how a task is run today stands in its lock, so that an older run is not taken for one of its kind.
    tasks = {"arithmetic": {**stored["tasks"]["arithmetic"], "positions": 4096}}
    with pytest.raises(UserError, match=r"tasks.arithmetic.positions is null, asked for 4096"):
        RunStore.open_writer(run_v1, lock=asked(stored, tasks=tasks), about={})


def started_as_version_1(plan: Plan, folder: Path) -> None:
    with RunStore.open_writer(folder, lock=as_version_1(plan.lock), about=plan.about):
        pass


def test_the_same_command_finds_its_run_of_version_1_and_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = planned("builtin:tiny")
    assert plan.warnings == []
    older = Path("runs") / f"builtin-tiny-quickstart-{digest(as_version_1(plan.lock))[:8]}"
    assert plan.run_dir != older
    started_as_version_1(plan, older)
    again = planned("builtin:tiny")
    assert again.run_dir == older
    (warning,) = again.warnings
    assert "version 1" in warning
    assert "\n" not in warning
    with RunStore.open_writer(again.run_dir, lock=again.lock, about=again.about) as store:
        assert "version" not in store.lock


def test_a_strict_command_does_not_take_a_loose_run_of_version_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = planned("builtin:tiny")
    older = Path("runs") / f"builtin-tiny-quickstart-{digest(as_version_1(plan.lock))[:8]}"
    with RunStore.open_writer(older, lock=as_version_1(plan.lock), about={**plan.about, "strict_boxed": True}):
        pass
    assert planned("builtin:tiny").run_dir == plan.run_dir


def test_locks_of_two_versions_compare_in_what_both_have(run_v1: Path, tmp_path: Path) -> None:
    newer = shutil.copytree(run_v1, tmp_path / "newer")
    content = json.loads((newer / "run.json").read_text())

    def relock(lock: Json) -> None:
        (newer / "run.json").write_text(json.dumps(content | {"lock": lock, "lock_hash": digest(lock)}))

    relock(asked(content["lock"]))
    for pair in ([run_v1, newer], [newer, run_v1]):
        (comparison,) = compare_runs(pair)
        assert comparison.differences == ()
    relock(asked(content["lock"], engine={**content["lock"]["engine"], "dtype": "float16"}))
    with pytest.raises(UserError, match=r"not comparable: engine\.dtype"):
        compare_runs([run_v1, newer])
    (comparison,) = compare_runs([run_v1, newer], anyway=True)
    assert [field for field, _, _ in comparison.differences] == ["engine.dtype"]


def test_an_older_version_refuses_a_run_of_version_2_by_name(tmp_path: Path) -> None:
    """Its rule was equality, in which the key `version` stands first."""
    lock = planned("builtin:tiny").lock
    with RunStore.open_writer(tmp_path / "run", lock=lock, about={}):
        pass
    with pytest.raises(UserError, match=r"another lock: version is 2, asked for null"):
        RunStore.open_writer(tmp_path / "run", lock=as_version_1(lock), about={})


def test_a_new_database_is_of_the_schema_that_older_versions_read(tmp_path: Path) -> None:
    with RunStore.open_writer(tmp_path / "run", lock={"seed": 0}, about={}):
        pass
    with sqlite3.connect(tmp_path / "run" / "samples.sqlite") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
