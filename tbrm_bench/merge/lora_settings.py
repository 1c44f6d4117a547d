"""The scale of an adapter and its kind, from the files beside it.

adapter_config.json      PEFT: {"r": 16, "lora_alpha": 32, "use_rslora": false, "alpha_pattern": {}, ...}
lora_train_meta.json     verl: {"r": 16, "lora_alpha": 32, "task_type": "CAUSAL_LM"}
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tbrm_bench.errors import UserError
from tbrm_bench.merge.assets import read_json
from tbrm_bench.merge.checkpoint import Checkpoint

T = TypeVar("T")
# Their start changed the base too: the adapter's file alone does not make the model.
CHANGED_BASES = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")
# Kinds of LoRA whose update is not alpha/r B A, or that act on other things than modules.
OTHER_KINDS = (
    "target_parameters", "layer_replication", "megatron_config", "trainable_token_indices", "lora_bias", "use_qalora",
    "alora_invocation_tokens", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
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


def local_base(folder: Path) -> Path | None:
    """Return the folder that the adapter's config names as its base, None if it is none on this disk."""
    name = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        return None
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    raise UserError(
        f"{folder} holds an adapter whose base is {name}, which is no folder here; merge the two: "
        f"tbench merge {folder} OUTPUT --base {name}"
    )


def read_settings(checkpoint: Checkpoint, alpha: float | None) -> Settings:
    """Return the settings; raises UserError if alpha is not known or the adapter is of a kind that is not a sum."""
    meta, config, where = _files(checkpoint)
    _check_kind(checkpoint, config)
    _check_agreement(meta, config, where)
    if alpha is None:
        alpha = _alpha(meta) or _alpha(config)
    if alpha is None:
        raise UserError(
            f"{where} does not say the adapter's alpha (or says 0), and the result depends on it; give what training "
            "used with --lora-alpha"
        )
    if not math.isfinite(alpha) or alpha == 0:
        raise UserError(f"lora alpha is {alpha:g}; give what training used, for instance --lora-alpha 32")
    rank = meta.get("r", config.get("r"))
    return Settings(
        alpha=alpha,
        rank=rank if isinstance(rank, int) else None,
        file=where,
        alphas=_patterns(config, "alpha_pattern", where),
        ranks=_patterns(config, "rank_pattern", where),
        is_stabilised=bool(config.get("use_rslora")),
        fan_in_fan_out=bool(config.get("fan_in_fan_out")),
        config=config,
    )


def _patterns(config: dict[str, Any], key: str, where: Path) -> dict[str, Any]:
    patterns = config.get(key) or {}
    if not isinstance(patterns, dict) or not all(isinstance(value, int | float) for value in patterns.values()):
        raise UserError(f"{where}: {key} is no table of numbers")
    return patterns


def _check_agreement(meta: dict[str, Any], config: dict[str, Any], where: Path) -> None:
    """Raise UserError if verl's file and PEFT's disagree: one of them belongs to another adapter. 0 says nothing."""
    for key in ("r", "lora_alpha"):
        if meta.get(key) and config.get(key) and meta[key] != config[key]:
            raise UserError(
                f"lora_train_meta.json says {key} = {meta[key]}, {where} says {config[key]}; remove the one that is "
                "not of this adapter"
            )


def _files(checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, Any], Path]:
    root = checkpoint.root
    metas = [root / "lora_train_meta.json", root / "lora_adapter" / "lora_train_meta.json"]
    configs = [root / "adapter_config.json", root / "lora_adapter" / "adapter_config.json"]
    meta = next((file for file in metas if file.is_file()), None)
    config = next((file for file in configs if file.is_file()), None)
    return read_json(meta) if meta else {}, read_json(config) if config else {}, config or meta or root


def _alpha(values: dict[str, Any]) -> float | None:
    value = values.get("lora_alpha")
    return float(value) if isinstance(value, int | float) and value else None


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
