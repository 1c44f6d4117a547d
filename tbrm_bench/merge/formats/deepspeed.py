"""Checkpoints of DeepSpeed: ZeRO stages 0 to 3.

    global_step100/mp_rank_00_model_states.pt                         stages 0 to 2: the weights, 16-bit if trained so
    global_step100/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt     stages 1 to 3: a rank's part of the fp32 masters
    global_step100/zero_pp_rank_1_mp_rank_00_model_states.pt          stage 3: shapes, buffers, parts of frozen weights

Stages 1 and 2 lay the parameters of a group one after the other (with the paddings that the file tells) and cut the row
into one part per rank. Stage 3 cuts every parameter by itself into ceil(numel / ranks), the last ranks' parts padded,
and lays a rank's parts one after the other. Where a model was trained in 16 bits, its fp32 masters are what is
merged; if that very 16-bit type is asked for, the stored 16-bit weights are the same numbers and half the bytes.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.formats.zerostate import (
    RANK,
    check_root,
    flat,
    model_state,
    optimizer_state,
    param_shapes,
    shape_table,
    shared_names,
    strings,
    zero_stage,
)
from tbrm_bench.merge.pieces.mesh import chunk
from tbrm_bench.merge.pieces.tiling import Loaded, Parts, Piece, whole
from tbrm_bench.merge.refusals import DamagedFile, UnknownFormat
from tbrm_bench.merge.source.byte_ranges import SourceFile
from tbrm_bench.merge.source.dtypes import DType
from tbrm_bench.merge.source.file_names import check_ranks_complete, files_in
from tbrm_bench.merge.source.inert import Stub
from tbrm_bench.merge.source.tensors import LazyTensor
from tbrm_bench.merge.source.unpickle import Archive

NAME = "deepspeed"
TITLE = "DeepSpeed, ZeRO 0 to 3"
FILES = "*_model_states.pt"
MODEL_STATES = re.compile(r"(?:zero_pp_rank_(\d+)_)?mp_rank_(\d+)_model_states\.pt")
OPTIM_STATES = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt")


def find(folder: Path) -> Checkpoint | None:
    """Return a tag's folder of DeepSpeed."""
    names = {path.name: path for path in files_in(folder)}
    states = {name: match for name in names if (match := MODEL_STATES.fullmatch(name))}
    if not states:
        return None
    if any(int(match[2]) for match in states.values()):
        raise UnknownFormat(
            f"{folder} was written with model or pipeline parallelism (mp_rank_01), which is not merged here; "
            "turn it into a universal checkpoint with DeepSpeed's ds_to_universal.py first"
        )
    optim = {int(match[1]): names[name] for name in names if (match := OPTIM_STATES.fullmatch(name))}
    ranks = {int(match[1]): names[name] for name, match in states.items() if match[1] is not None}
    world = max((*optim, *ranks), default=0) + 1
    if ranks:
        check_ranks_complete(folder, set(ranks), world, "zero_pp_rank_{1}_mp_rank_00_model_states.pt")
    if optim:
        check_ranks_complete(folder, set(optim), world, "zero_pp_rank_{1}_mp_rank_00_optim_states.pt")
    elif ranks:
        raise UserError(f"{folder} holds no *_optim_states.pt, where ZeRO-3 keeps the weights; copy them too")
    models = [ranks[rank] for rank in sorted(ranks)] or [names[name] for name in sorted(states)]
    return Checkpoint(NAME, folder, (*models, *(optim[rank] for rank in sorted(optim))), world)


def load(checkpoint: Checkpoint, wanted: DType | None) -> Loaded:
    """Read the tables of all ranks; raises UserError where they do not make one checkpoint."""
    archives = [Archive(SourceFile(path)) for path in checkpoint.files]
    for archive in archives:
        check_root(archive)
    models = [archive for archive in archives if "model_states" in archive.file.path.name]
    optims = [archive for archive in archives if "optim_states" in archive.file.path.name]
    state = model_state(models[0])
    loaded = Loaded({}, [archive.file for archive in archives], buffers=set(strings(state.get("buffer_names"))))
    if not all(archive.has_checksums for archive in archives):
        loaded.warnings.append("the files were saved without checksums: flipped bits in them cannot be noticed")
    module = {name: value for name, value in state["module"].items() if isinstance(value, LazyTensor)}
    masters = [optimizer_state(archive) for archive in optims]
    stage = zero_stage(masters)
    if stage == 3:
        _load_stage3(loaded, models, optims, masters, module)
    elif masters and any(_is_better(value, wanted) for value in module.values()):
        _load_stage12(loaded, state, optims, masters, module)
    else:
        loaded.tensors = {name: whole(tensor) for name, tensor in module.items()}
        if wanted is None and not masters and any(tensor.dtype.itemsize == 2 for tensor in module.values()):
            loaded.warnings.append("the checkpoint has no fp32 masters: its 16-bit weights are merged")
    loaded.shared = shared_names(state, module)
    return loaded


def _is_better(tensor: LazyTensor, wanted: DType | None) -> bool:
    """Whether the fp32 master says more than this stored weight, for the type that is asked for."""
    return tensor.dtype.is_float and tensor.dtype.itemsize == 2 and tensor.dtype is not wanted


def _load_stage12(
    loaded: Loaded,
    state: dict[str, Any],
    optims: list[Archive],
    masters: list[dict[str, Any]],
    module: dict[str, LazyTensor],
) -> None:
    trained: dict[str, Parts] = {}
    groups = param_shapes(optims[0], state)
    for index, shapes in enumerate(groups):
        parts = []
        for archive, master in zip(optims, masters, strict=True):
            rows = master.get("single_partition_of_fp32_groups")
            part = flat(rows[index]) if isinstance(rows, list) and len(rows) == len(groups) else None
            if part is None:
                raise DamagedFile(archive.file.path, f"it holds no fp32 partition of parameter group {index}")
            parts.append(part)
        trained |= _cut_row(optims, masters, index, shapes, parts)
    for name, tensor in module.items():
        loaded.tensors[name] = trained.pop(name) if name in trained else whole(tensor)
    loaded.tensors |= trained
    for alias in shared_names(state, module):
        loaded.tensors.pop(alias, None)


def _cut_row(
    optims: list[Archive],
    masters: list[dict[str, Any]],
    index: int,
    shapes: dict[str, tuple[int, ...]],
    parts: list[LazyTensor],
) -> dict[str, Parts]:
    """Cut the row that the ranks' parts make into the parameters of a group."""
    paddings = masters[0].get("param_alignment_paddings")
    gaps = paddings[index] if isinstance(paddings, list) and index < len(paddings) else [0] * len(shapes)
    if not isinstance(gaps, list) or len(gaps) != len(shapes):
        raise DamagedFile(optims[0].file.path, f"its paddings do not fit the {len(shapes)} parameters of group {index}")
    found, at, available = {}, 0, sum(part.numel for part in parts)
    expected: list[dict[str, tuple[int, int]]] = [{} for _ in parts]
    for (name, shape), gap in zip(shapes.items(), gaps, strict=True):
        numel = math.prod(shape)
        pieces = []
        for rank, begin, view in _overlaps(parts, at, numel):
            pieces.append(Piece(view, (begin,)))
            expected[rank][name] = (view.offset - parts[rank].offset, view.numel)
        found[name] = Parts(shape, parts[0].dtype, tuple(pieces), grid=(numel,))
        at += numel + int(gap)
    # The row is padded to a multiple of twice the ranks at most.
    if not at <= available + int(gaps[-1] if gaps else 0) or available - at >= 2 * len(parts) * max(1, len(parts)):
        raise UserError(
            f"{optims[0].file.path.parent}: parameter group {index} has {at} elements, the ranks' files hold "
            f"{available}; are all ranks' files of one run?"
        )
    _check_slices(optims, masters, index, expected)
    return found


def _overlaps(parts: list[LazyTensor], at: int, numel: int) -> Iterator[tuple[int, int, LazyTensor]]:
    """Yield (rank, where in the parameter, view) for every part that the row's [at, at + numel) touches."""
    start = 0
    for rank, part in enumerate(parts):
        low, high = max(at, start), min(at + numel, start + part.numel)
        if low < high:
            yield rank, low - at, part.view(low - start, (high - low,))
        start += part.numel


def _check_slices(
    optims: list[Archive], masters: list[dict[str, Any]], index: int, expected: list[dict[str, tuple[int, int]]]
) -> None:
    """Newer versions say which parameter lies where in a rank's part: that must be what was worked out."""
    for archive, master, slices in zip(optims, masters, expected, strict=True):
        mappings = master.get("param_slice_mappings")
        if not isinstance(mappings, list) or index >= len(mappings) or not isinstance(mappings[index], dict):
            continue
        said = {
            name: (address.get("start"), address.get("numel"))
            for name, address in mappings[index].items()
            if isinstance(address, Stub)
        }
        wrong = next((name for name in said if name in slices and said[name] != slices[name]), None)
        wrong = wrong or next(iter(said.keys() ^ slices.keys()), None)
        if wrong is not None:
            raise UserError(
                f"{archive.file.path}: {wrong} lies at {said.get(wrong)} by the file's own table, but at "
                f"{slices.get(wrong)} by its rank; are the ranks' files under their own names?"
            )


def _load_stage3(
    loaded: Loaded,
    models: list[Archive],
    optims: list[Archive],
    masters: list[dict[str, Any]],
    module: dict[str, LazyTensor],
) -> None:
    world = len(masters)
    states = [model_state(archive) for archive in models]
    _check_partitions(optims, masters)
    if len(states) != world:
        raise UserError(f"{models[0].file.path.parent} has {len(states)} model_states files for {world} ranks")
    shapes = {name: shape for group in param_shapes(models[0], states[0]) for name, shape in group.items()}
    rows = [_stage3_row(archive, master) for archive, master in zip(optims, masters, strict=True)]
    trained = _cut_each(optims, rows, shapes)
    trained |= frozen_parts(models, states)
    for name, tensor in module.items():
        if name in trained:
            loaded.tensors[name] = trained.pop(name)
        elif name in loaded.buffers:
            loaded.tensors[name] = whole(tensor)
    loaded.tensors |= trained


def _check_partitions(optims: list[Archive], masters: list[dict[str, Any]]) -> None:
    for rank, (archive, master) in enumerate(zip(optims, masters, strict=True)):
        count = master.get("partition_count")
        if count != len(masters):
            raise UserError(
                f"{archive.file.path} is one of {count} partitions, but {len(masters)} files exist; copy all ranks'"
            )
        for group in master.get("ds_zero_partition_groups") or []:
            if isinstance(group, dict) and group.get("partition_count", count) != count:
                raise UnknownFormat(
                    f"{archive.file.path} has experts cut over fewer ranks, which is not merged here; "
                    "turn it into a universal checkpoint with DeepSpeed's ds_to_universal.py first"
                )
            if isinstance(group, dict) and group.get("partition_rank", rank) != rank:
                raise UserError(
                    f"{archive.file.path} was saved by rank {group['partition_rank']}; give it its name back"
                )


def _stage3_row(archive: Archive, master: dict[str, Any]) -> list[LazyTensor]:
    groups = master.get("fp32_flat_groups")
    groups = groups if isinstance(groups, list) else []
    row = [part for part in map(flat, groups) if part is not None]
    if not row or len(row) != len(groups):
        raise DamagedFile(
            archive.file.path, "it holds no fp32 partition; optimizer states that were offloaded to NVMe lie elsewhere"
        )
    return row


def _cut_each(
    optims: list[Archive], rows: list[list[LazyTensor]], shapes: dict[str, tuple[int, ...]]
) -> dict[str, Parts]:
    """Give every parameter its ceil(numel / ranks) elements of each rank's row."""
    found: dict[str, Parts] = {}
    at, world = 0, len(rows)
    for name, shape in shapes.items():
        numel = math.prod(shape)
        pieces = []
        for rank, row in enumerate(rows):
            begin, size = chunk(numel, world, rank)
            pieces += [Piece(view, (begin + inner,)) for _, inner, view in _overlaps(row, at, size)]
        found[name] = Parts(shape, rows[0][0].dtype, tuple(pieces), grid=(numel,))
        at += -(-numel // world)
    for archive, row in zip(optims, rows, strict=True):
        if sum(part.numel for part in row) != at:
            raise UserError(
                f"{archive.file.path} holds {sum(part.numel for part in row)} elements, its part of the parameters is "
                f"{at}; are all ranks' files of one run?"
            )
    return found


def frozen_parts(models: list[Archive], states: list[dict[str, Any]]) -> dict[str, Parts]:
    """Return the frozen parameters that the ranks hold parts of; those of stages 0 to 2 lie whole in the module."""
    if not RANK.search(models[0].file.path.name):
        return {}
    shapes = shape_table(models[0], states[0].get("frozen_param_shapes") or {})
    return {name: _frozen(models, states, name, shape) for name, shape in shapes.items()}


def _frozen(models: list[Archive], states: list[dict[str, Any]], name: str, shape: tuple[int, ...]) -> Parts:
    numel, pieces = math.prod(shape), []
    for rank, (archive, state) in enumerate(zip(models, states, strict=True)):
        fragments = state.get("frozen_param_fragments")
        fragment = flat(fragments.get(name)) if isinstance(fragments, dict) else None
        if fragment is None:
            raise DamagedFile(archive.file.path, f"it holds no part of the frozen parameter {name}")
        begin, size = chunk(numel, len(states), rank)
        if fragment.numel < size:
            raise DamagedFile(archive.file.path, f"its part of {name} has {fragment.numel} elements, not {size}")
        pieces.append(Piece(fragment.view(0, (size,)), (begin,)))
    return Parts(shape, pieces[0].tensor.dtype, tuple(pieces), grid=(numel,))
