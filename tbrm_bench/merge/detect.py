"""What kind of checkpoint is in a folder, by the names of its files; only small text files are opened.

    runs/grpo/                              several steps: one is asked for
    runs/grpo/global_step_100/              verl: actor/ and critic/ inside
    runs/grpo/global_step_100/actor/        the shards themselves
    checkpoint-500/pytorch_model_fsdp_0/    accelerate: a distributed checkpoint inside a Trainer's folder

Any of these may be given.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.formats import FORMATS, find
from tbrm_bench.merge.refusals import UnknownFormat

STEP_NAME = re.compile(r"(?:global_?step|checkpoint|step|epoch|iter|ckpt)[-_]?0*(\d+)(?:_universal)?", re.IGNORECASE)
# Where frameworks put the policy inside of a step's folder, in the order in which they are looked at.
INNER = (
    "actor",
    "policy/weights",
    "policy",
    "_actor",
    "pytorch_model_fsdp_0",
    "model",
    "weights",
    "critic",
    "huggingface",
)
POINTERS = ("latest_checkpointed_iteration.txt", "latest", "latest_universal")
MAX_LISTED = 20


def detect(source: Path, *, step: int | None = None) -> Checkpoint:
    """Recognise the checkpoint in a folder; raises UserError if there is none, several, or one that is not whole."""
    if not source.is_dir():
        what = (
            "is a file; give the folder that it lies in"
            if source.exists()
            else "does not exist; CKPT is the folder of a checkpoint, a step or a run"
        )
        raise UserError(f"{source} {what}")
    source = source.resolve()
    found = _in_folder(source)
    if found is not None:
        own = step_of(source)
        if step is not None and step != (own if own is not None else found.step):
            raise UserError(f"{source} holds {_name_step(found.step)}, not step {step}; give the run's folder")
        return found
    return _choose(source, steps_in(source), step)


def steps_in(source: Path) -> list[Checkpoint]:
    """Return the checkpoints in the folders of a run, or of its `checkpoints`, in the order of their steps."""
    found = []
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        is_alias = folder.is_symlink() and folder.resolve().parent == source.resolve()  # best -> step-000050
        checkpoint = None if is_alias else _in_folder(folder.resolve())
        if checkpoint is not None:
            found.append(checkpoint)
    if not found and (source / "checkpoints").is_dir():
        return steps_in(source / "checkpoints")
    return sorted(found, key=lambda checkpoint: (checkpoint.step is None, checkpoint.step or 0, checkpoint.root.name))


def step_of(folder: Path) -> int | None:
    """Return the step in a folder's name, None if it has none. global_step_100 -> 100"""
    match = STEP_NAME.fullmatch(folder.name)
    return int(match[1]) if match else None


def _in_folder(folder: Path) -> Checkpoint | None:
    found = find(folder)
    inner = [] if found else [folder / name for name in INNER if (folder / name).is_dir()]
    for path in inner:
        found = find(path)
        if found is not None:
            if path.name == "actor" and (folder / "critic").is_dir():
                found = replace(found, notes=(*found.notes, "the actor is merged; for the critic give critic/ itself"))
            break
    if found is None:
        return None
    step = next((step_of(path) for path in (found.root, *found.root.parents[:2]) if step_of(path) is not None), None)
    return replace(found, step=step, homes=tuple(_homes(found.root)))


def _homes(root: Path) -> Iterable[Path]:
    for folder in (root, *root.parents[:2]):
        yield folder
        if (folder / "huggingface").is_dir():
            yield folder / "huggingface"


def _choose(source: Path, found: list[Checkpoint], step: int | None) -> Checkpoint:
    if not found:
        names = ", ".join(sorted(path.name for path in source.iterdir())[:5]) or "nothing"
        raise UnknownFormat(
            f"{source} holds no checkpoint of a known format (found: {names}); give the folder with the files of one: "
            + ", ".join(module.FILES for module in FORMATS if module.FILES)
        )
    if step is not None:
        for checkpoint in found:
            if checkpoint.step == step:
                return checkpoint
        raise UserError(f"{source} holds no step {step}; it has {_list_steps(found)}")
    if len(found) == 1:
        return found[0]
    raise UserError(
        f"{source} holds {_list_steps(found)}{_latest(source)}; choose one with --step N, or all with --all"
    )


def _list_steps(found: list[Checkpoint]) -> str:
    names = [str(checkpoint.step) if checkpoint.step is not None else checkpoint.root.name for checkpoint in found]
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"{len(names)} step{'s' if len(names) > 1 else ''}: {', '.join(names[:MAX_LISTED])}{more}"


def _latest(source: Path) -> str:
    for name in POINTERS:
        try:
            text = (source / name).read_text(encoding="utf-8")[:80].strip()
        except (OSError, UnicodeError):
            continue
        digits = re.search(r"\d+", text)
        return f" (the latest is {digits[0] if digits else text})"
    return ""


def _name_step(step: int | None) -> str:
    return "a checkpoint without a step in its name" if step is None else f"step {step}"
