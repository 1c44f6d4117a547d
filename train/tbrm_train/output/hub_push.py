"""Pushes checkpoints to a repository on the Hub while the training runs: one commit each, named after its step.

    with pushing(recipe, warn) as push:
        push(Path("runs/x/checkpoints/step-000050"))       returns at once

    runs/x/.push/step-000050/      links to the model's files, until they are uploaded

It pushes what `tbench eval` takes, with a card that contains the recipe; never the optimiser's state. A thread pushes
in order. A failed push is reported in one line and stays in `.push`, as does one that a kill interrupts: it is retried
before the next checkpoint or at the next start, and large files that are uploaded are not sent again. The repository is
made private.
"""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tbrm_bench.errors import UserError
from tbrm_bench.files import read_text
from tbrm_bench.hub import Head, HubRepo, Upload, push_changes
from tbrm_bench.hub.client import Backoff, holds_token, require_token
from tbrm_bench.strict_json import parse_json
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import recipe_toml

OUTBOX = ".push"
Push = Callable[[Path], None]
Warn = Callable[[str], None]


@contextmanager
def pushing(recipe: RlRecipe, warn: Warn, *, is_first: bool = True, backoff: Backoff | None = None) -> Iterator[Push]:
    """Yield a function that queues a checkpoint; it does nothing without a repository or in processes but the first.

    Waits for the queue at the end, but not after an error. Raises MissingPrerequisite without a token, UserError for an
    invalid repository name or a recipe that contains a token.
    """
    repo = recipe.checkpoints.push_to
    if repo is None or not is_first:
        yield lambda checkpoint: None
        return
    remote = HubRepo(repo, repo_type="model", backoff=backoff)
    require_token()
    if holds_token(recipe_toml(recipe)):
        raise UserError("the recipe contains what looks like a token, and is pushed with the model; remove it")
    outbox = Path(recipe.output) / OUTBOX
    news: SimpleQueue[bool] = SimpleQueue()
    thread = threading.Thread(
        target=_push_all, args=(news, outbox, remote, recipe, warn), name="tbrm-push", daemon=True
    )
    thread.start()
    if _waiting(outbox):
        news.put(True)

    def push(checkpoint: Path) -> None:
        try:
            _link(checkpoint, outbox)
            news.put(True)
        except OSError as error:
            warn(f"{checkpoint.name} is not pushed to {repo}: {error.strerror or error}")

    yield push
    news.put(False)
    thread.join()


def card(recipe: RlRecipe, meta: dict[str, object]) -> str:
    """Return the README.md of a checkpoint: what it is, its score on held-out prompts, and its recipe."""
    score = meta.get("score")
    # A local folder is no base model to others.
    base = recipe.model if recipe.model.count("/") == 1 and not Path(recipe.model).exists() else None
    front = ["library_name: transformers", *([f"base_model: {json.dumps(base)}"] if base else [])]
    front += ["tags: [tbrm-bench, reinforcement-learning, mathematics]"]
    lines = ["---", *front, "---", "", f"# Step {meta['step']} of a training by `tbench train`", ""]
    lines += [f"Algorithm `{recipe.algorithm.name}`, step {meta['step']} of {recipe.optimizer.steps}."]
    if isinstance(score, float):
        lines += [f"Fraction of correct answers on held-out prompts: {score:.4f}. They are not a benchmark."]
    # A fence longer than any in a recipe's strings.
    return "\n".join([*lines, "", "The recipe:", "", "``````toml", recipe_toml(recipe).strip(), "``````", ""])


def _link(checkpoint: Path, outbox: Path) -> None:
    """Link the model's files, so that they outlive the checkpoint; the folder appears complete or not at all."""
    folder, draft = outbox / checkpoint.name, outbox / f".{checkpoint.name}"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    draft.mkdir(parents=True)
    for file in sorted(path for path in checkpoint.iterdir() if path.is_file()):
        try:
            os.link(file, draft / file.name)
        except OSError:  # a file system without links
            shutil.copyfile(file, draft / file.name)
    draft.rename(folder)


def _push_all(news: "SimpleQueue[bool]", outbox: Path, remote: HubRepo, recipe: RlRecipe, warn: Warn) -> None:
    """Push what is queued, oldest first: a later checkpoint never precedes an earlier one that failed."""
    while news.get():
        _push_waiting(outbox, remote, recipe, warn)


def _waiting(outbox: Path) -> list[Path]:
    return sorted(outbox.glob("step-*"), key=lambda path: int(path.name[len("step-") :]))


def _push_waiting(outbox: Path, remote: HubRepo, recipe: RlRecipe, warn: Warn) -> None:
    for folder in _waiting(outbox):
        try:
            _push(folder, remote, recipe)
        except (UserError, OSError, ValueError, KeyError) as error:
            warn(
                f"{folder.name} is not on the Hub yet: {' '.join(str(error).split())[:300]}; "
                "it is retried with the next checkpoint, or run the same command to push it"
            )
            return


def _push(folder: Path, remote: HubRepo, recipe: RlRecipe) -> None:
    meta = parse_json(read_text(folder / "meta.json"), place=f"{folder}/meta.json", fix="remove that folder")
    uploads = [Upload(file.name, file) for file in sorted(folder.iterdir())]
    uploads.append(Upload("README.md", card(recipe, meta).encode()))
    remote.ensure(private=True)

    def missing(head: Head) -> tuple[list[Upload], list[str]]:
        return [upload for upload in uploads if not upload.is_same(head.files.get(upload.path))], []

    push_changes(remote, missing, message=f"Checkpoint of step {meta['step']}")
    shutil.rmtree(folder)
