"""LoRA adapters merged into their base: from an adapter's folder, or from shards that hold both (or the adapter alone).

    base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight      A (r, in)
    base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight      B (out, r)
    base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight          W (out, in)

W + alpha/r B A, with alpha/sqrt(r) for rank-stabilised ones (arXiv:2312.03732). The scale is never guessed: an alpha
that is 0 or not there, and kinds of adapters for which the sum is not the model, are errors.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import tbrm_bench.merge.formats.plain as plain
from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.formats.lora_fit import (
    check_ranks,
    check_saved,
    check_targets,
    check_ties,
    is_transposed,
    names_another_base,
)
from tbrm_bench.merge.formats.lora_settings import AdapterSettings, local_base, read_settings
from tbrm_bench.merge.model.assets import Assets
from tbrm_bench.merge.model.expected import ClassQuestion, Expected
from tbrm_bench.merge.pieces.lowrank import LowRank
from tbrm_bench.merge.pieces.stream import output_tensor, read_all
from tbrm_bench.merge.pieces.tiling import Loaded, Parts, Piece
from tbrm_bench.merge.source.dtypes import DType, to_float

NAME = "lora"
TITLE = "PEFT LoRA"
FILES = "adapter_config.json"
PREFIX = "base_model.model."
PAIRS = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B")


@dataclass(frozen=True, slots=True)
class Part:
    """A name inside of an adapter: `kind` is one of PAIRS, "saved" (instead of the base's), "base" or "unused"."""

    module: str  # "model.layers.0.self_attn.q_proj" for a pair, else the whole clean name
    kind: str
    adapter: str = ""


def find(folder: Path) -> Checkpoint | None:
    """Return an adapter of PEFT."""
    if not (folder / "adapter_config.json").is_file():
        return None
    for name in ("adapter_model.safetensors", "adapter_model.bin"):
        if (folder / name).is_file():
            return Checkpoint(NAME, folder, (folder / name,))
    raise UserError(f"{folder} holds adapter_config.json but no adapter_model.safetensors or .bin; copy it too")


def load(checkpoint: Checkpoint, wanted: DType | None) -> Loaded:
    """Read the adapter's own tensors; `apply` adds the base."""
    loaded = Loaded({}, [])
    loaded.tensors = plain.load_file(checkpoint.files[0], loaded)
    return loaded


def find_base(checkpoint: Checkpoint, base: Path | None) -> Path | None:
    """Return the base's folder: the one given, or the one that an adapter's config names if it is on this disk."""
    if base is None and checkpoint.format == NAME:
        return local_base(checkpoint.root)
    return base


def apply(
    checkpoint: Checkpoint,
    loaded: Loaded,
    *,
    base: Path | None,
    alpha: float | None,
    assets: Assets,
    question: ClassQuestion,
) -> Path | None:
    """Merge adapters in place; return the base's folder if weights came from it.

    Raises UserError for a scale that is not known, several adapters, kinds that are not sums (DoRA), and an adapter
    that does not fit its config or its base.
    """
    if checkpoint.format != NAME and not any("lora_" in name or name.startswith(PREFIX) for name in loaded.tensors):
        return None
    named = {name: parse(name) for name in loaded.tensors}
    pairs = _pairs(loaded, named)
    settings = read_settings(checkpoint, alpha) if pairs or checkpoint.format == NAME else None
    own = {part.module: loaded.tensors[name] for name, part in named.items() if part.kind == "base"}
    saved = {part.module: loaded.tensors[name] for name, part in named.items() if part.kind == "saved"}
    used = None
    if checkpoint.format == NAME or not own:
        used = base
        replaced = own | saved
        own = _load_base(checkpoint, loaded, base)
        if settings is not None:
            _check_replaced(loaded, settings, replaced, own, base)
        own = own | replaced
    loaded.tensors = own | saved
    loaded.shared = {_clean(alias): _clean(name) for alias, name in loaded.shared.items()}
    if settings is not None:
        check_ranks(settings, {module: _rank(pair) for module, pair in pairs.items()})
        shapes = {name: parts.shape for name, parts in loaded.tensors.items()}
        check_targets(settings, pairs.keys(), shapes, lambda: _class_names(question))
        if assets.ties is not False and assets.architecture.endswith(("ForCausalLM", "LMHeadModel")):
            names = saved if used is None else replaced
            check_ties(settings, pairs.keys(), names.keys(), loaded.tensors.keys())
    for module, pair in pairs.items():
        assert settings is not None
        _add(loaded, module, pair, settings.scale(module, _rank(pair)), is_transposed(settings, module, assets.config))
    return used


def _check_replaced(
    loaded: Loaded, settings: AdapterSettings, replaced: dict[str, Parts], own: dict[str, Parts], base: Path | None
) -> None:
    check_saved(
        settings,
        {name: parts.shape for name, parts in replaced.items()},
        {name: parts.shape for name, parts in own.items()},
    )
    if base is not None and (warning := names_another_base(settings, base)) is not None:
        loaded.warnings.append(warning)


def _class_names(question: ClassQuestion) -> Collection[str] | None:
    answer = question.answer()
    return answer.names.keys() if isinstance(answer, Expected) else None


def _rank(pair: dict[str, Parts]) -> int:
    first = pair.get("lora_A") or pair["lora_embedding_A"]
    return first.shape[0] if first.shape else 0


def parse(name: str) -> Part:
    """Return what a name inside of an adapter or a PEFT model is; raises UserError for kinds that are not merged."""
    parts = name.removeprefix(PREFIX).split(".")
    if any(part.startswith("lora_magnitude") for part in parts):
        raise UserError(f"{name}: DoRA adapters are not sums and are not merged here; use PEFT's merge_and_unload()")
    for kind in PAIRS:
        if kind in parts:
            at = parts.index(kind)
            rest = [part for part in parts[at + 1 :] if part != "weight"]
            if parts[-1] == "bias":
                raise UserError(f"{name}: adapters with a bias of their own are not merged here; use PEFT")
            return Part(".".join(parts[:at]), kind, rest[0] if rest else "")
    if any(part.startswith(("lora_", "trainable_tokens", "token_adapter")) for part in parts):
        raise UserError(f"{name} is a kind of adapter that is not merged here; use PEFT's merge_and_unload()")
    if "original_module" in parts:
        return Part(name, "unused")
    if "modules_to_save" in parts:
        at = parts.index("modules_to_save")
        # In shards the adapter's name follows it, in an adapter's file only the parameter's.
        skip = 2 if len(parts) - at > 2 else 1
        return Part(".".join(parts[:at] + parts[at + skip :]), "saved", parts[at + 1] if skip == 2 else "")
    return Part(_clean(name), "base")


def _clean(name: str) -> str:
    return ".".join(part for part in name.removeprefix(PREFIX).split(".") if part != "base_layer")


def _pairs(loaded: Loaded, named: dict[str, Part]) -> dict[str, dict[str, Parts]]:
    """Return A and B by module; raises UserError for half a pair or several adapters."""
    adapters = sorted({part.adapter for part in named.values() if part.kind in (*PAIRS, "saved") and part.adapter})
    if len(adapters) > 1:
        raise UserError(
            f"the checkpoint holds the adapters {' and '.join(adapters)}; save the one that is to be merged"
        )
    pairs: dict[str, dict[str, Parts]] = {}
    for name, part in named.items():
        if part.kind in PAIRS:
            pairs.setdefault(part.module, {})[part.kind] = loaded.tensors[name]
    for module, pair in pairs.items():
        if sorted(pair) not in (["lora_A", "lora_B"], ["lora_embedding_A", "lora_embedding_B"]):
            raise UserError(f"the adapter of {module} has {' and '.join(sorted(pair))}, not one A and one B")
    return pairs


def _load_base(checkpoint: Checkpoint, loaded: Loaded, base: Path | None) -> dict[str, Parts]:
    if base is None:
        raise UserError(f"{checkpoint.root} holds an adapter without its base; give the base model with --base")
    found = plain.find(base)
    if found is None:
        raise UserError(f"the base {base} holds no *.safetensors or pytorch_model*.bin; give a Hugging Face model")
    below = plain.load(found, None)
    loaded.files += below.files
    loaded.warnings += below.warnings
    return below.tensors


def _add(loaded: Loaded, module: str, pair: dict[str, Parts], scale: float, transposed: bool) -> None:
    name = f"{module}.weight"
    target = loaded.tensors.get(name)
    if target is None:
        raise UserError(
            f"the adapter changes {module}, which the base does not have; is it the base that was trained on?"
        )
    is_embedding = "lora_embedding_A" in pair
    first, second = (
        (pair["lora_embedding_A"], pair["lora_embedding_B"]) if is_embedding else (pair["lora_A"], pair["lora_B"])
    )
    if len(first.shape) != 2 or len(second.shape) != 2 or len(target.shape) != 2 or not target.dtype.is_float:
        raise UserError(
            f"the adapter of {module} has shapes {first.shape} and {second.shape}; only matrices are merged"
        )
    rank = first.shape[0]
    a = to_float(read_all(output_tensor(name, first, first.dtype)), first.dtype).reshape(first.shape)
    b = to_float(read_all(output_tensor(name, second, second.dtype)), second.dtype).reshape(second.shape)
    left, right = (a.T, b.T) if is_embedding or transposed else (b, a)
    if second.shape[1] != rank or (left.shape[0], right.shape[1]) != target.shape:
        raise UserError(
            f"the adapter of {module} is {second.shape} times {first.shape}, its weight {target.shape}; "
            "is it the base that was trained on?"
        )
    delta = LowRank(left, right, scale)
    pieces = tuple(Piece(piece.tensor, piece.start) for piece in target.pieces)
    loaded.tensors[name] = Parts(target.shape, target.dtype, pieces, target.grid, delta)
