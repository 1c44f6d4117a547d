"""What the files of a DeepSpeed checkpoint hold, checked before it is used."""

import re
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.refusals import DamagedFile
from tbrm_bench.merge.source.inert import Stub
from tbrm_bench.merge.source.tensors import LazyTensor
from tbrm_bench.merge.source.unpickle import Archive

RANK = re.compile(r"zero_pp_rank_(\d+)_")


def check_root(archive: Archive) -> None:
    """torch.save keeps a file's name inside of it: a renamed rank is noticed."""
    name, saved = RANK.search(archive.file.path.name), RANK.search(archive.root)
    if name and saved and name[1] != saved[1]:
        raise UserError(f"{archive.file.path} was saved as {archive.root}.pt; give it its own name back")


def model_state(archive: Archive) -> dict[str, Any]:
    """Return a model_states file's dictionary; raises DamagedFile if it is none."""
    state = archive.value
    if not isinstance(state, dict) or not isinstance(state.get("module"), dict):
        raise DamagedFile(archive.file.path, "it holds no 'module' with weights")
    return state


def optimizer_state(archive: Archive) -> dict[str, Any]:
    """Return an optim_states file's dictionary; raises DamagedFile if it is none of ZeRO's."""
    state = archive.value.get("optimizer_state_dict") if isinstance(archive.value, dict) else None
    if not isinstance(state, dict) or "zero_stage" not in state:
        raise DamagedFile(archive.file.path, "it holds no state of a ZeRO optimizer")
    return state


def zero_stage(masters: list[dict[str, Any]]) -> int:
    """Return the stage that all ranks' files name, 0 without any."""
    stages = set()
    for state in masters:
        stage = state["zero_stage"]
        stages.add(stage.args[0] if isinstance(stage, Stub) and stage.args else stage)
    if len(stages) > 1 or not stages <= {0, 1, 2, 3}:
        raise UserError(f"the ranks' files are of ZeRO stages {sorted(map(str, stages))}; mixed runs?")
    return int(stages.pop()) if stages else 0


def shared_names(state: dict[str, Any], module: dict[str, LazyTensor]) -> dict[str, str]:
    """Return alias -> name for parameters that the model holds under two names."""
    said = state.get("shared_params")
    found = {alias: name for alias, name in said.items() if isinstance(name, str)} if isinstance(said, dict) else {}
    shapes = state.get("param_shapes") or []
    own = {name for group in shapes if isinstance(group, dict) for name in group} | set(
        state.get("frozen_param_shapes") or {}
    )
    holders = {id(module[name].storage): name for name in own if name in module}
    for name, tensor in module.items():
        # Stage 3 leaves empty tensors behind: two names of one parameter share even those.
        if name not in own and not tensor.numel and id(tensor.storage) in holders:
            found.setdefault(name, holders[id(tensor.storage)])
    return found


def param_shapes(archive: Archive, state: dict[str, Any]) -> list[dict[str, tuple[int, ...]]]:
    """Return the shapes of the trained parameters, one table per group, in the order in which they are laid."""
    groups = state.get("param_shapes")
    if not isinstance(groups, list):
        raise DamagedFile(archive.file.path, "it holds no param_shapes")
    return [shape_table(archive, group) for group in groups]


def shape_table(archive: Archive, group: Any) -> dict[str, tuple[int, ...]]:
    """Return the table of shapes; raises DamagedFile if it is none."""
    if not isinstance(group, dict):
        raise DamagedFile(archive.file.path, "its param_shapes are not a table")
    for name, shape in group.items():
        if not isinstance(name, str) or not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
            raise DamagedFile(archive.file.path, f"its param_shapes have no shape for {name!r}")
    return group


def flat(value: Any) -> LazyTensor | None:
    """Return a tensor of one dimension, None if the value is none."""
    is_flat = isinstance(value, LazyTensor) and len(value.shape) == 1 and value.is_contiguous()
    return value if is_flat else None


def strings(values: Any) -> list[str]:
    """Return the texts of a list."""
    return [value for value in values if isinstance(value, str)] if isinstance(values, list | tuple) else []
