"""Which checkpoints the scripts beside this file write: a short list that always runs, a full one for slow proofs.

    FsdpVariant("fsdp2", 4, "fp32", tied=True).name == "fsdp2-w4-fp32-tied-uneven"

No torch in here: tests are named after the variants, and collecting tests must stay fast.
"""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class Variant(Protocol):
    """One checkpoint; the name says what it is."""

    @property
    def name(self) -> str: ...

    @property
    def world_size(self) -> int: ...


@dataclass(frozen=True)
class Place:
    """Where the parts of one generated checkpoint lie."""

    folder: Path

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def reference(self) -> Path:
        return self.folder / "reference.safetensors"


@dataclass(frozen=True)
class FsdpVariant:
    """One checkpoint. `kind` is how it is sharded; the flags say which files and tensors are there."""

    kind: str
    world_size: int
    dtype: str = "fp32"
    tied: bool = True
    shape: str = "uneven"
    fsdp_config: bool = True
    huggingface: bool = True
    buffers: bool = False

    @property
    def name(self) -> str:
        parts = [self.kind, f"w{self.world_size}", self.dtype, "tied" if self.tied else "untied", self.shape]
        flags = {"buffers": self.buffers, "noconfig": not self.fsdp_config, "nohf": not self.huggingface}
        return "-".join([*parts, *(flag for flag, present in flags.items() if present)])


FSDP = [
    FsdpVariant("fsdp1", 1, "fp32", tied=True),
    FsdpVariant("fsdp2", 1, "bf16", tied=False, fsdp_config=False),
    FsdpVariant("fsdp1", 2, "bf16", tied=False),
    FsdpVariant("fsdp1_sharded_tensor", 2, "fp32", tied=True, fsdp_config=False),
    FsdpVariant("fsdp2", 2, "bf16", tied=True),
    FsdpVariant("fsdp2", 2, "fp32", tied=False, shape="even", huggingface=False),
    FsdpVariant("tp_fsdp2", 2, "fp32", tied=True, shape="even"),
    FsdpVariant("fsdp1", 4, "fp32", tied=True, shape="even"),
    FsdpVariant("fsdp1_sharded_tensor", 4, "bf16", tied=False),
    FsdpVariant("fsdp2", 4, "fp32", tied=True),
    FsdpVariant("fsdp2", 4, "fp32", tied=True, buffers=True),
    FsdpVariant("fsdp1", 4, "fp32", tied=False, buffers=True),
    FsdpVariant("fsdp2_columns", 4, "bf16", tied=False, shape="even"),
    FsdpVariant("hsdp1", 4, "fp32", tied=True),
    FsdpVariant("hsdp2", 4, "bf16", tied=False),
    FsdpVariant("tp_fsdp2", 4, "bf16", tied=False, shape="even"),
    FsdpVariant("tp_fsdp2", 4, "fp32", tied=True),
]
FSDP_KINDS = {
    1: ("fsdp1", "fsdp1_sharded_tensor", "fsdp2"),
    2: ("fsdp1", "fsdp1_sharded_tensor", "fsdp2", "fsdp2_columns", "tp_fsdp2"),
    4: ("fsdp1", "fsdp1_sharded_tensor", "fsdp2", "fsdp2_columns", "hsdp1", "hsdp2", "tp_fsdp2"),
}
FSDP_FULL = [
    FsdpVariant(kind, world_size, dtype, tied, shape, fsdp_config=config)
    for world_size, kinds in FSDP_KINDS.items()
    for kind, dtype, tied, shape, config in itertools.product(
        kinds, ("fp32", "bf16"), (True, False), ("even", "uneven"), (True, False)
    )
    if (kind, shape) != ("fsdp2_columns", "uneven")  # torch refuses it
]


@dataclass(frozen=True)
class ZeroVariant:
    """One checkpoint. `frozen` fixes the embeddings; `groups` is the number of the optimizer's parameter groups."""

    stage: int
    world_size: int
    dtype: str = "bf16"
    tied: bool = True
    shape: str = "uneven"
    frozen: bool = False
    groups: int = 1
    sub_group_size: int = 1_000_000_000
    universal: bool = False

    @property
    def name(self) -> str:
        kind = f"universal{self.stage}" if self.universal else f"zero{self.stage}"
        parts = [kind, f"w{self.world_size}", self.dtype, "tied" if self.tied else "untied", self.shape]
        flags = {
            "frozen": self.frozen,
            f"groups{self.groups}": self.groups > 1,
            f"sub{self.sub_group_size}": self.sub_group_size < 1_000_000_000,
        }
        return "-".join([*parts, *(flag for flag, present in flags.items() if present)])


ZERO = [
    ZeroVariant(0, 1, "fp32"),
    ZeroVariant(0, 2, "bf16", tied=False),
    ZeroVariant(1, 1, "bf16", groups=2),
    ZeroVariant(1, 2, "bf16", tied=False, groups=2),
    ZeroVariant(2, 2, "fp32", groups=2),
    ZeroVariant(2, 2, "bf16", frozen=True),
    ZeroVariant(3, 1, "fp32", tied=False),
    ZeroVariant(3, 2, "bf16"),
    ZeroVariant(3, 2, "fp32", tied=False, frozen=True, groups=2, sub_group_size=9_000),
    ZeroVariant(2, 4, "bf16"),
    ZeroVariant(3, 4, "bf16", tied=False, sub_group_size=9_000),
    ZeroVariant(1, 2, "bf16", universal=True),
    ZeroVariant(2, 2, "fp32", tied=False, groups=2, universal=True),
    ZeroVariant(2, 2, "bf16", frozen=True, universal=True),
    ZeroVariant(3, 2, "bf16", universal=True),
    ZeroVariant(3, 4, "bf16", tied=False, frozen=True, sub_group_size=9_000, universal=True),
]
ZERO_FULL = [
    ZeroVariant(stage, world_size, dtype, tied, groups=groups, frozen=frozen, sub_group_size=size)
    for stage, world_size, dtype, tied, (groups, frozen), size in itertools.product(
        (0, 1, 2, 3), (1, 2, 4), ("fp32", "bf16"), (True, False), ((1, False), (2, True)), (9_000, 1_000_000_000)
    )
    if stage == 3 or size > 9_000
]


@dataclass(frozen=True)
class DcpVariant:
    """One checkpoint. `kind`: flat and nested keys, or a plain model without FSDP, or accelerate's FSDP 1 and 2."""

    kind: str
    world_size: int
    dtype: str = "fp32"
    tied: bool = True
    shape: str = "uneven"

    @property
    def name(self) -> str:
        return "-".join([self.kind, f"w{self.world_size}", self.dtype, "tied" if self.tied else "untied", self.shape])


DCP = [
    DcpVariant("dcp_plain", 1, "bf16", tied=False),
    DcpVariant("dcp_nested", 2, "fp32"),
    DcpVariant("dcp_flat", 2, "bf16", tied=False),
    DcpVariant("dcp_flat", 4, "fp32"),
    DcpVariant("dcp_nested", 4, "bf16", tied=False),
    DcpVariant("accelerate1", 2, "fp32"),
    DcpVariant("accelerate2", 2, "fp32", tied=False),
]
DCP_FULL = [
    DcpVariant(kind, world_size, dtype, tied, shape)
    for kind, world_size, dtype, tied, shape in itertools.product(
        ("dcp_plain", "dcp_flat", "dcp_nested", "accelerate1", "accelerate2"),
        (1, 2, 4),
        ("fp32", "bf16"),
        (True, False),
        ("even", "uneven"),
    )
    if not (kind.startswith("accelerate") and world_size == 1)  # accelerate saves plain files then
]


@dataclass(frozen=True)
class PlainVariant:
    """One checkpoint: its files' form and what the trainer did to the keys."""

    kind: str
    dtype: str = "fp32"
    tied: bool = True
    safetensors: bool = True
    shard_size: str = "5GB"
    world_size: int = 1

    @property
    def name(self) -> str:
        form = "safetensors" if self.safetensors else "bin"
        parts = [self.kind, form, self.dtype, "tied" if self.tied else "untied"]
        return "-".join([*parts, *(["sharded"] if self.shard_size != "5GB" else [])])


PLAIN = [
    PlainVariant("plain", "bf16", safetensors=False),
    PlainVariant("plain", "fp32", tied=False, safetensors=False, shard_size="60KB"),
    PlainVariant("plain", "fp32", shard_size="60KB"),
    PlainVariant("plain", "bf16", tied=False),
    PlainVariant("ddp_compiled", "bf16", safetensors=False),
    PlainVariant("fsdp_wrapped", "fp32", tied=False),
    PlainVariant("value_head", "fp32", safetensors=False),
]


@dataclass(frozen=True)
class LoraVariant:
    """One adapter. `meta` is what verl writes beside the shards of an FSDP run, None for nothing."""

    kind: str
    world_size: int = 1
    dtype: str = "fp32"
    tied: bool = True
    config: dict[str, Any] = field(default_factory=dict)
    base: str = "qwen2"
    meta: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return "-".join([self.kind, f"w{self.world_size}", self.dtype, "tied" if self.tied else "untied"])

    @property
    def options(self) -> dict[str, Any]:
        return {"r": 4, "lora_alpha": 8, "target_modules": ATTENTION, "task_type": "CAUSAL_LM"} | self.config


ATTENTION = ["q_proj", "v_proj"]
PATTERNS = {"rank_pattern": {"layers.0.self_attn.q_proj": 3}, "alpha_pattern": {"v_proj": 32, "layers.1.*q_proj": 1}}
META = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
LORA = [
    LoraVariant("lora"),
    LoraVariant("lora", dtype="bf16", tied=False),
    LoraVariant("rslora", config={"use_rslora": True, "r": 3}),
    LoraVariant("patterns", config=PATTERNS),
    LoraVariant("all_linear", config={"target_modules": "all-linear", "bias": "none"}, tied=False),
    LoraVariant("embedding", config={"target_modules": ["embed_tokens", "o_proj"]}, tied=False),
    LoraVariant("saved_modules", config={"modules_to_save": ["lm_head"]}, tied=False),
    LoraVariant("fan_in_fan_out", config={"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}, base="gpt2"),
    LoraVariant("alpha_zero", config={"lora_alpha": 0}),
    LoraVariant("dora", config={"use_dora": True}),
    LoraVariant("lora_shards", 2, meta=META),
    LoraVariant("lora_shards", 4, "bf16", tied=False, meta=META),
    LoraVariant("lora_shards_no_meta", 2),
    LoraVariant("lora_shards_alpha_zero", 2, meta=META | {"lora_alpha": 0}),
]

DEFAULT: dict[str, list[Variant]] = {
    "fsdp": [*FSDP],
    "zero": [*ZERO],
    "dcp": [*DCP],
    "plain": [*PLAIN],
    "lora": [*LORA],
}
FULL: dict[str, list[Variant]] = {"fsdp": [*FSDP_FULL], "zero": [*ZERO_FULL], "dcp": [*DCP_FULL]}


def named(script: str) -> dict[str, Variant]:
    """Return all checkpoints that a script can write, by name."""
    return {variant.name: variant for variant in [*DEFAULT[script], *FULL.get(script, [])]}
