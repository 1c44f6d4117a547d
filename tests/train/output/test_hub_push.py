"""Checkpoints on the Hub: each a commit, nothing of the optimiser's, nothing lost by faults, kills or pruning."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import BACKOFF, READ_TOKEN, TOKEN, client_environment, loopback_hub
from hub_repos import Commit
from hub_server import HubServer

from tbrm_bench.errors import MissingPrerequisite, UserError
from tbrm_bench.hub import Backoff
from tbrm_train.output.hub_push import OUTBOX, Push, card, pushing
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import load_rl_recipe

TINY = Path(__file__).resolve().parents[3] / "train" / "recipes" / "tiny-tbrm.toml"
REPO = "ann/policy"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with loopback_hub(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def recipe(tmp_path: Path) -> RlRecipe:
    return load_rl_recipe(TINY, [f"output={tmp_path / 'run'}", f"checkpoints.push_to={REPO}"])


def checkpoint(recipe: RlRecipe, step: int) -> Path:
    """Write a folder as the training does: weights that differ by step, and a state that nobody else needs."""
    folder = Path(recipe.output) / "checkpoints" / f"step-{step:06d}"
    (folder / "state" / "policy").mkdir(parents=True)
    (folder / "state" / "policy" / "optimizer.pt").write_bytes(b"secret moments")
    (folder / "model.safetensors").write_bytes(bytes([step]) * 5000)
    (folder / "config.json").write_text("{}")
    (folder / "meta.json").write_text(json.dumps({"step": step, "world_size": 1, "score": step / 10}))
    return folder


def head(hub: HubServer) -> Commit:
    found = hub.store.repos["models", REPO].resolve("main")
    assert found is not None
    return found


def left(recipe: RlRecipe) -> list[str]:
    folder = Path(recipe.output) / OUTBOX
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_each_checkpoint_is_a_commit_without_its_state(hub: HubServer, recipe: RlRecipe) -> None:
    """And it arrives though the training has pruned it meanwhile."""
    warnings: list[str] = []
    with pushing(recipe, warnings.append, backoff=BACKOFF) as push:
        for step in (2, 4):
            path = checkpoint(recipe, step)
            push(path)
            shutil.rmtree(path)
    assert warnings == []
    assert left(recipe) == []
    repo = hub.store.repos["models", REPO]
    assert repo.private
    assert set(head(hub).files) - {".gitattributes"} == {"README.md", "config.json", "meta.json", "model.safetensors"}
    messages = [commit.message for commit in repo.commits.values()]
    assert [text for text in messages if "step" in text] == ["Checkpoint of step 2", "Checkpoint of step 4"]


def test_a_fault_is_one_line_the_training_goes_on_and_the_next_start_pushes(hub: HubServer, recipe: RlRecipe) -> None:
    warnings: list[str] = []
    hub.faults.add("POST", "/commit/", status=500, times=BACKOFF.num_tries)
    with pushing(recipe, warnings.append, backoff=BACKOFF) as push:
        push(checkpoint(recipe, 2))
    (line,) = warnings
    assert line.startswith("step-000002 is not on the Hub yet: ")
    assert line.endswith("it is retried with the next checkpoint, or run the same command to push it")
    assert "\n" not in line
    assert left(recipe) == ["step-000002"]
    sent = [entry for entry in hub.log if entry.method == "PUT"]
    with pushing(recipe, warnings.append, backoff=BACKOFF):
        pass
    assert left(recipe) == []
    assert "step 2" in head(hub).message
    assert len([entry for entry in hub.log if entry.method == "PUT"]) == len(sent), "weights that arrived stay there"


def test_a_push_waits_between_its_tries_and_as_long_as_the_hub_asks(hub: HubServer, recipe: RlRecipe) -> None:
    """Another commit first, a busy Hub, a limit of requests: one commit in the end, after growing waits."""
    for status, headers in ((412, {}), (503, {}), (429, {"Retry-After": "7"})):
        hub.faults.add("POST", "/commit/", status=status, headers=headers)
    waits: list[float] = []
    backoff = Backoff(num_tries=5, first_s=1.0, longest_s=30.0, sleep=waits.append)
    with pushing(recipe, pytest.fail, backoff=backoff) as push:
        push(checkpoint(recipe, 2))
    assert left(recipe) == []
    assert "step 2" in head(hub).message
    assert len([entry for entry in hub.log if "/commit/" in entry.path]) == 4
    first, second, third = waits
    assert 0.5 <= first <= 1.0 <= second <= 2.0
    assert third >= 7.0, "what the Hub asks for is kept to"


def test_a_training_that_stops_does_not_wait_and_loses_nothing(hub: HubServer, recipe: RlRecipe) -> None:
    hub.faults.add("POST", "/commit/", status=403, times=99)

    def stop(push: Push) -> None:
        push(checkpoint(recipe, 2))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), pushing(recipe, lambda line: None, backoff=BACKOFF) as push:
        stop(push)
    for thread in threading.enumerate():
        assert thread.daemon or thread is threading.main_thread()
    assert left(recipe) == ["step-000002"]
    hub.faults.clear()  # let its last requests pass before the next test listens
    while left(recipe):
        time.sleep(0.01)


def test_what_a_kill_left_half_linked_is_not_pushed(hub: HubServer, recipe: RlRecipe) -> None:
    draft = Path(recipe.output) / OUTBOX / ".step-000002"
    draft.mkdir(parents=True)
    (draft / "config.json").write_text("{}")
    with pushing(recipe, pytest.fail, backoff=BACKOFF):
        pass
    assert ("models", REPO) not in hub.store.repos


def test_only_the_first_process_pushes_and_only_when_asked(hub: HubServer, recipe: RlRecipe) -> None:
    silent = load_rl_recipe(TINY, [f"output={recipe.output}"])
    for given, is_first in ((recipe, False), (silent, True)):
        with pushing(given, pytest.fail, is_first=is_first, backoff=BACKOFF) as push:
            push(Path(recipe.output))
    assert hub.log == []


def test_what_cannot_work_is_told_before_training(
    hub: HubServer, recipe: RlRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="has no owner"):
        load_rl_recipe(TINY, ["checkpoints.push_to=policy"])
    leaky = load_rl_recipe(TINY, [f"checkpoints.push_to={REPO}", f"logging.wandb_project={TOKEN}"])
    with pytest.raises(UserError, match="contains what looks like a token"), pushing(leaky, pytest.fail):
        pass
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(MissingPrerequisite, match="no Hub token found"), pushing(recipe, pytest.fail):
        pass


def test_a_token_that_may_not_write_is_one_line(
    hub: HubServer, recipe: RlRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    warnings: list[str] = []
    with pushing(recipe, warnings.append, backoff=BACKOFF) as push:
        push(checkpoint(recipe, 2))
    (line,) = warnings
    assert "403" in line
    assert READ_TOKEN not in line


def test_the_card_names_step_score_and_recipe(recipe: RlRecipe) -> None:
    text = card(recipe, {"step": 40, "score": 0.4375})
    assert "# Step 40 of a training" in text
    assert "0.4375" in text
    assert 'name = "tbrm"' in text
    assert "base_model" not in text, "builtin:tiny is no model of the Hub"


@pytest.mark.slow  # a process of its own: the client reads its environment when it is imported
def test_a_training_pushes_while_it_runs(hub: HubServer, tmp_path: Path) -> None:
    """The command itself; a commit that fails costs a line of stderr and no step."""
    hub.faults.add("POST", "/commit/", status=403)
    words = [f"output={tmp_path / 'run'}", f"checkpoints.push_to={REPO}", "optimizer.steps=2", "checkpoints.every=1"]
    words += ["rollout.engine=hf", "rollout.prompts_per_step=4", "rollout.samples_per_prompt=4", "rollout.max_tokens=9"]
    words += ["prompts.num_prompts=24", "prompts.validation=4"]
    command = [sys.executable, "-m", "tbrm_bench", "train", str(TINY), *words]
    environment = client_environment(hub, tmp_path) | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "is not on the Hub yet" in line]
    assert "step-000001" in line
    commits = [commit.message for commit in hub.store.repos["models", REPO].commits.values()]
    assert [text for text in commits if "step" in text] == ["Checkpoint of step 1", "Checkpoint of step 2"]
    assert left(load_rl_recipe(TINY, words)) == []
