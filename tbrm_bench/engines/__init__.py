"""Engines turn SampleRequests into Samples; every one that can be named is in `ENGINES`.

A new engine is a module here with a class like `base.Engine`, and its line below. All that others ask of an engine
(help, errors, versions, `tbench doctor`, what it reads) is in the class's `about`. A module is imported when it is
asked, and imports the engine's own packages only when a model is loaded.
"""

import importlib
from dataclasses import fields
from typing import TYPE_CHECKING

from tbrm_bench.errors import UserError

if TYPE_CHECKING:
    from tbrm_bench.engines.base import Engine, EngineClass, EngineConfig

# Name -> module and class; the first is the default, `hf` the slow reference.
ENGINES = {
    "vllm": ("tbrm_bench.engines.vllm", "VllmEngine"),
    "hf": ("tbrm_bench.engines.hf", "HfEngine"),
}
DEFAULT_ENGINE = next(iter(ENGINES))


def engine_class(name: str) -> "EngineClass":
    """Return the class of an engine; raises UserError for an unknown name."""
    if name not in ENGINES:
        raise UserError(f"engine {name!r} does not exist; available: {', '.join(ENGINES)}")
    module, cls = ENGINES[name]
    found: EngineClass = getattr(importlib.import_module(module), cls)
    return found


def make_engine(name: str, config: "EngineConfig") -> "Engine":
    """Return the engine, not loaded yet; raises UserError for a setting that it does not read, or as its class does."""
    cls = engine_class(name)
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in ("model_dir", "max_model_len", *cls.about.settings) or value == field.default:
            continue
        read = ", ".join(cls.about.settings) or "none"
        raise UserError(
            f"--set {field.name}={value} is not read by --engine {name}, which reads {read}; "
            "leave it out or take another engine"
        )
    return cls(config)


def engine_packages() -> list[str]:
    """Return the distributions of all engines, whose versions belong into a run's record."""
    return [package for name in ENGINES for package in engine_class(name).about.builds]
