"""The scale of an adapter and its kind, from the files beside it.

adapter_config.json      PEFT: {"r": 16, "lora_alpha": 32, "use_rslora": false, "alpha_pattern": {}, ...}
lora_train_meta.json     verl: {"r": 16, "lora_alpha": 32, "task_type": "CAUSAL_LM"}
"""

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Lt

from tbrm_bench.config import Count, from_table
from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.model.assets import read_json

T = TypeVar("T")
Finite = Annotated[float, Gt(float("-inf")), Lt(float("inf"))]
# Their start changed the base too: the adapter's file alone does not make the model.
CHANGED_BASES = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")
# Kinds of LoRA whose update is not alpha/r B A, or that act on other things than modules.
OTHER_KINDS = (
    "target_parameters", "layer_replication", "megatron_config", "trainable_token_indices", "lora_bias", "use_qalora",
    "alora_invocation_tokens", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What decides the factor before B A, and the config that says which modules it is for."""

    alpha: float
    rank: int | None
    file: Path = Path("adapter_config.json")  # where it is said
    alphas: dict[str, float] = field(default_factory=dict)  # pattern of module names -> alpha
    ranks: dict[str, int | None] = field(default_factory=dict)  # likewise
    is_stabilised: bool = False
    fan_in_fan_out: bool = False
    config: dict[str, Any] = field(default_factory=dict)  # adapter_config.json, empty where there is none

    def scale(self, module: str, rank: int) -> float:
        """Return alpha/r, or alpha/sqrt(r), of a module whose A has `rank` rows."""
        alpha = _by_pattern(self.alphas, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.is_stabilised else rank)

    def rank_of(self, module: str) -> int | None:
        """Return the rank that a module has by the config; None where it does not say one."""
        return _by_pattern(self.ranks, module, self.rank)


def _by_pattern(patterns: dict[str, T], module: str, default: T) -> T:
    """Return the value of the first pattern that a module's name ends in, as PEFT does."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a file says of the factor; null and 0 say nothing. Other keys of the file are not read here."""

    r: Annotated[int, Ge(0)] | None = None
    lora_alpha: Finite | None = None
    use_rslora: bool | None = None
    fan_in_fan_out: bool | None = None
    alpha_pattern: dict[str, Finite] | None = None
    rank_pattern: dict[str, Count | None] | None = None


def _said(values: dict[str, Any], file: Path) -> _Said:
    names = [key.name for key in fields(_Said) if key.name in values]
    return from_table({name: values[name] for name in names}, _Said, place=str(file))


def local_base(folder: Path) -> Path | None:
    """Return the folder that the adapter's config names as its base, None if it is none on this disk."""
    name = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        return None
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    raise UserError(
        f"{folder} holds an adapter whose base is {name}, which is not a local folder; merge the two: "
        f"tbench merge {folder} OUTPUT --base {name}"
    )


def read_settings(checkpoint: Checkpoint, alpha: float | None) -> AdapterSettings:
    """Return the settings; raises UserError if alpha is not known or the adapter is of a kind that is not a sum."""
    meta_file, config_file = _files(checkpoint)
    where = config_file or meta_file or checkpoint.root
    config = read_json(config_file) if config_file else {}
    _check_kind(checkpoint, config)
    said, meta = _said(config, where), _said(read_json(meta_file), meta_file) if meta_file else _Said()
    _check_agreement(meta, said, where)
    if alpha is None:
        alpha = meta.lora_alpha or said.lora_alpha
    if alpha is None:
        raise UserError(
            f"{where} does not say the adapter's alpha (or says 0), and the result depends on it; give what training "
            "used with --lora-alpha"
        )
    if not math.isfinite(alpha) or alpha == 0:
        raise UserError(f"lora alpha is {alpha:g}; give what training used, for instance --lora-alpha 32")
    return AdapterSettings(
        alpha=alpha,
        rank=meta.r or said.r or None,
        file=where,
        alphas=said.alpha_pattern or {},
        ranks=said.rank_pattern or {},
        is_stabilised=bool(said.use_rslora),
        fan_in_fan_out=bool(said.fan_in_fan_out),
        config=config,
    )


def _check_agreement(meta: _Said, config: _Said, where: Path) -> None:
    """Raise UserError if verl's file and PEFT's disagree: one of them belongs to another adapter. 0 says nothing."""
    for key, one, other in (("r", meta.r, config.r), ("lora_alpha", meta.lora_alpha, config.lora_alpha)):
        if one and other and one != other:
            raise UserError(
                f"lora_train_meta.json says {key} = {one:g}, {where} says {other:g}; remove the one that is not of "
                "this adapter"
            )


def _files(checkpoint: Checkpoint) -> tuple[Path | None, Path | None]:
    root = checkpoint.root
    metas = [root / "lora_train_meta.json", root / "lora_adapter" / "lora_train_meta.json"]
    configs = [root / "adapter_config.json", root / "lora_adapter" / "adapter_config.json"]
    meta = next((file for file in metas if file.is_file()), None)
    config = next((file for file in configs if file.is_file()), None)
    return meta, config


def _check_kind(checkpoint: Checkpoint, config: dict[str, Any]) -> None:
    kind = config.get("peft_type") or "LORA"
    if kind != "LORA":
        raise UserError(f"{checkpoint.root} holds an adapter of type {kind}; only LORA is merged here, use PEFT")
    if config.get("use_dora"):
        raise UserError(f"{checkpoint.root} holds a DoRA adapter, which is not a sum; use PEFT's merge_and_unload()")
    for key in OTHER_KINDS:
        if config.get(key):
            raise UserError(f"{checkpoint.root} holds an adapter with {key}, which is not merged here; use PEFT")
    start = config.get("init_lora_weights")
    if checkpoint.format == "lora" and isinstance(start, str) and start.lower().startswith(CHANGED_BASES):
        raise UserError(
            f"{checkpoint.root} holds an adapter that began as {start}, which changes the base too; convert it with "
            "PEFT's save_pretrained(path_initial_model_for_weight_conversion=...) first"
        )
