"""The scale of an adapter and its kind, from the files beside it.

adapter_config.json      PEFT: {"r": 16, "lora_alpha": 32, "use_rslora": false, "alpha_pattern": {}, ...}
lora_train_meta.json     verl: {"r": 16, "lora_alpha": 32, "task_type": "CAUSAL_LM"}
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.assets import read_json
from tbrm_bench.merge.checkpoint import Checkpoint

# Their start changed the base too: the adapter's file alone does not make the model.
CHANGED_BASES = ("pissa", "olora", "corda", "loftq")


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the factor before B A."""

    alpha: float
    rank: int | None
    alphas: dict[str, float] = field(default_factory=dict)  # pattern of module names -> alpha
    is_stabilised: bool = False
    fan_in_fan_out: bool = False

    def scale(self, module: str, rank: int) -> float:
        """Return alpha/r, or alpha/sqrt(r), of a module whose A has `rank` rows."""
        alpha = next((alpha for key, alpha in self.alphas.items() if re.match(rf"(.*\.)?({key})$", module)), self.alpha)
        return alpha / (math.sqrt(rank) if self.is_stabilised else rank)


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
    if alpha is None:
        alpha = _alpha(meta) or _alpha(config)
    if alpha is None:
        raise UserError(
            f"{where} does not say the adapter's alpha (or says 0), and the result depends on it; give what training "
            "used with --lora-alpha"
        )
    if not math.isfinite(alpha) or alpha == 0:
        raise UserError(f"lora alpha is {alpha:g}; give what training used, for instance --lora-alpha 32")
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict) or not all(isinstance(value, int | float) for value in patterns.values()):
        raise UserError(f"{where}: alpha_pattern is no table of numbers")
    rank = meta.get("r", config.get("r"))
    return Settings(
        alpha=alpha,
        rank=rank if isinstance(rank, int) else None,
        alphas=patterns,
        is_stabilised=bool(config.get("use_rslora")),
        fan_in_fan_out=bool(config.get("fan_in_fan_out")),
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
    for key in ("target_parameters", "layer_replication", "megatron_config", "trainable_token_indices"):
        if config.get(key):
            raise UserError(f"{checkpoint.root} holds an adapter with {key}, which is not merged here; use PEFT")
    start = config.get("init_lora_weights")
    if checkpoint.format == "lora" and isinstance(start, str) and start.lower().startswith(CHANGED_BASES):
        raise UserError(
            f"{checkpoint.root} holds an adapter that began as {start}, which changes the base too; convert it with "
            "PEFT's save_pretrained(path_initial_model_for_weight_conversion=...) first"
        )
