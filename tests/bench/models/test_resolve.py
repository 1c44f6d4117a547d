"""MODEL on the command line: which folder it means, and one line for everything that is no model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tbrm_bench.errors import ExitCode, MissingPrerequisite, UserError
from tbrm_bench.models.resolve import Model, resolve_model
from tbrm_bench.resources import builtin_model_dir

CONFIG = {"architectures": ["InventedForCausalLM"], "max_position_embeddings": 96}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "f" * 40


def model_dir(folder: Path, content: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG) if content is None else content)
    return folder


def test_the_bundled_model_is_found_by_its_name() -> None:
    model = resolve_model("builtin:tiny")
    assert (model.name, model.path, model.commit) == ("builtin:tiny", builtin_model_dir("tiny"), None)
    assert model.context_length == json.loads((model.path / "config.json").read_text())["max_position_embeddings"]
    with pytest.raises(UserError, match=r"'tinny'; available: tiny"):
        resolve_model("builtin:tinny")


def test_every_way_to_write_a_folder_means_that_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that could be a Hub id: what is on disk comes first."""
    folder = model_dir(tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    words = (str(folder), "owner/name", "./owner/name", "owner/name/", "~/owner/name", "owner/../owner/name")
    for spec in words:
        model = resolve_model(spec)
        assert (model.name, model.path, model.commit) == (spec, folder.resolve(), None)
        assert model.context_length == 96
    monkeypatch.chdir(folder)
    assert resolve_model(".").path == folder.resolve()


@pytest.mark.parametrize(
    "spec", ["./gone", "/gone", "~/gone", "~nobody-here/m", "gone", "a/b/c", "../a/b", "", "\0", "x" * 999]
)
def test_a_path_that_leads_nowhere_is_not_asked_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="MODEL is a local folder, a Hub id") as caught:
        resolve_model(spec)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = model_dir(tmp_path / "m") / "config.json"
    with pytest.raises(UserError, match=r"config\.json is a file; give the folder"):
        resolve_model(str(file))


def test_a_folder_without_a_config_names_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json \(found: nothing\)"):
        resolve_model(str(tmp_path))
    for name in ("train.log", "README.md"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"no config\.json \(found: README\.md, train\.log\)"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "names no architecture"),
        ("{}", "names no architecture"),
        ('{"architectures": []}', "names no architecture"),
        ('{"architectures": null}', "names no architecture"),
    ],
)
def test_a_config_that_is_none_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        resolve_model(str(model_dir(tmp_path / "m", content)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, -1, 1.5, "96", None, True, [96]])
def test_a_context_length_that_is_none(tmp_path: Path, length: object) -> None:
    model = Model("m", tmp_path, None, {**CONFIG, "max_position_embeddings": length})
    with pytest.raises(UserError, match="not a positive integer") as caught:
        _ = model.context_length
    assert repr(length) in str(caught.value)


def test_a_model_that_also_sees_nests_the_context_length_of_its_text() -> None:
    nested = {"architectures": ["X"], "text_config": {"max_position_embeddings": 7}}
    assert Model("m", Path(), None, nested).context_length == 7
    assert Model("m", Path(), None, {**nested, "max_position_embeddings": 9}).context_length == 9


def hub_cache(home: Path) -> Path:
    """Write what the Hub's client leaves after a download of two commits; a branch of the older one is there too."""
    repo = home / "hub" / "models--owner--name"
    for commit, length in ((COMMIT, 96), (OLDER, 48)):
        folder = model_dir(repo / "snapshots" / commit, json.dumps({**CONFIG, "max_position_embeddings": length}))
        (folder / "model.safetensors").write_bytes(b"")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "refs" / "old").write_text(OLDER)
    return repo


def resolve_offline(home: Path, *specs: str) -> list[list[object]]:
    """Resolve in a process of its own: the client reads its environment once."""
    code = """
import json, sys
from tbrm_bench.errors import UserError
from tbrm_bench.models.resolve import resolve_model
def resolve(spec):
    try:
        model = resolve_model(spec)
        return [model.commit, str(model.path), model.context_length]
    except UserError as error:
        return [type(error).__name__, str(error)]
print(json.dumps([resolve(spec) for spec in sys.argv[1:]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *specs],
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
        env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )
    found: list[list[object]] = json.loads(done.stdout)
    return found


def test_a_model_of_the_hub_is_found_in_the_cache_without_a_network(tmp_path: Path) -> None:
    repo = hub_cache(tmp_path)
    new, old = str(repo / "snapshots" / COMMIT), str(repo / "snapshots" / OLDER)
    assert (
        resolve_offline(
            tmp_path, "owner/name", f"owner/name@{COMMIT}", "owner/name@main", "owner/name@old", f"owner/name@{OLDER}"
        )
        == [[COMMIT, new, 96]] * 3 + [[OLDER, old, 48]] * 2
    )


def test_what_is_not_in_the_cache_says_what_to_do_offline(tmp_path: Path) -> None:
    hub_cache(tmp_path)
    absent, revision, invalid = resolve_offline(tmp_path, "owner/other", "owner/name@v2", "ow ner/na me")
    for (kind, said), spec in ((absent, "owner/other"), (revision, "owner/name@v2")):
        assert kind == MissingPrerequisite.__name__
        for words in (f"{spec} is not in the local cache", "HF_HUB_OFFLINE is set", "unset it", "give a local folder"):
            assert words in str(said)
    assert invalid[0] == UserError.__name__
    assert "'ow ner/na me' is not a Hub id" in str(invalid[1])
