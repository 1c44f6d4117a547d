"""MODEL on the command line, resolved to a folder with a Hugging Face model.

    builtin:tiny                       the bundled model
    ./models/step-100                  a local folder with config.json and weights
    ./runs/grpo/global_step_100        a training checkpoint, merged into the cache first
    Qwen/Qwen2.5-Math-1.5B@<revision>  a Hub id, with an optional branch, tag or commit

Nothing is derived from the name: what a run depends on is read from the files.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.resources import builtin_model_dir

BUILTIN = "builtin:"


@dataclass(frozen=True, slots=True)
class Model:
    """A model on disk. `name` is what the user typed; `commit` is the Hub's commit, None for a local folder."""

    name: str
    path: Path
    commit: str | None
    config: dict[str, Any]

    @property
    def context_length(self) -> int:
        """The longest sequence in tokens that the model's config allows; a model that also sees nests its text's."""
        text = self.config.get("text_config")
        nested = text.get("max_position_embeddings") if isinstance(text, dict) else None
        length = self.config.get("max_position_embeddings", nested)
        if type(length) is not int or length < 1:
            raise UserError(
                f"max_position_embeddings in {self.path / 'config.json'} is {length!r}, not a positive integer; add it"
            )
        return length


def resolve_model(spec: str) -> Model:
    """Find or download the model; raises UserError or MissingPrerequisite."""
    commit = None
    if spec.startswith(BUILTIN):
        path = builtin_model_dir(spec.removeprefix(BUILTIN))
    elif folder := _local_folder(spec):
        path = _as_model(folder)
    elif _looks_like_a_path(spec):
        raise UserError(f"no folder {spec!r}; MODEL is a local folder, a Hub id (owner/name) or builtin:tiny")
    else:
        from tbrm_bench.hub import download_model

        repo, _, revision = spec.partition("@")
        snapshot = download_model(repo, revision or None)
        path, commit = snapshot.path, snapshot.commit
    return Model(name=spec, path=path, commit=commit, config=_read_config(path))


def _as_model(folder: Path) -> Path:
    """Return the folder itself if it is a model, or one in the cache with the training checkpoint in it merged."""
    from tbrm_bench.merge.cache import is_model, merged
    from tbrm_bench.merge.refusals import UnknownFormat

    if is_model(folder):
        return folder
    try:
        return merged(folder)
    except UnknownFormat:
        return folder  # what it lacks is said where its config is read


def _local_folder(spec: str) -> Path | None:
    try:
        path = Path(spec).expanduser()
        if spec and path.is_dir():
            return path.resolve()
        is_file = path.is_file()
    except (OSError, RuntimeError):  # a name that is too long, a home that is not known
        return None
    if is_file:
        raise UserError(f"{spec} is a file; give the folder of a Hugging Face model that it is in")
    return None


def _looks_like_a_path(spec: str) -> bool:
    return spec.startswith((".", "/", "~")) or spec.count("/") != 1


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file() and (path / "adapter_config.json").is_file():
        raise UserError(
            f"{path} holds an adapter and no model; merge it into its base: tbench merge {path} OUTPUT --base BASE"
        )
    if not file.is_file():
        found = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
        raise UserError(f"{path} holds no config.json (found: {found}); give the folder of a Hugging Face model")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict) or not config.get("architectures"):
        raise UserError(f"{file} names no architecture; add the key 'architectures' or give another folder")
    return config
