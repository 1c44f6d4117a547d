"""A model that is about to be loaded: exactly its weights in one folder, and those of its class.

    model, check = open_model("runs/merged")     # resolved; the class is being asked meanwhile
    warnings = check.finish(engine="vllm")       # before any engine loads

Where a folder holds more than one model's files, `model.path` is a view: a temporary folder of links to what belongs to
the model, which lives as long as this process. Where tensors carry the names of wrappers (`_orig_mod.`, `module.`, a
value head beside them), it is a copy in the cache without them, as `tbench merge` writes it.
"""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tbrm_bench.engines import ENGINES, engine_class
from tbrm_bench.errors import UserError
from tbrm_bench.merge.cache import merged
from tbrm_bench.merge.formats import plain
from tbrm_bench.merge.model.ties import is_same
from tbrm_bench.merge.model.wrappers import wrapped_name
from tbrm_bench.merge.pieces.tiling import Loaded, Parts
from tbrm_bench.merge.refusals import UnknownFormat
from tbrm_bench.models.class_fit import QUANTISED_KEYS, Fit, FitQuestion, lost_modules
from tbrm_bench.models.resolve import Model, resolve_model
from tbrm_bench.weight_files import ADAPTER, ADAPTER_CONFIG, INDEX, NATIVE, PICKLE, SAFE, WeightFiles
from tbrm_bench.weights import CHUNK_BYTES, StoredTensor, read_headers, require_weights

MAX_NAMED = 3
QUANTISED = "they are quantised"
QUANTISED_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", INDEX)
HEAD, EMBEDDING = "lm_head.weight", "embed_tokens.weight"
Tensors = Mapping[str, StoredTensor | Parts]


def open_model(spec: str) -> tuple[Model, "ModelCheck"]:
    """Find or download the model, choose its files and begin to check them against its class.

    Raises UserError if the folder holds no weights or two models, MissingPrerequisite as `resolve_model` does.
    """
    model = resolve_model(spec)
    found = require_weights(model.path)
    warnings = _left_out(model.path, found)
    tensors, unread = _read(found)
    is_native = found.files[0].name.startswith(NATIVE) and "tok_embeddings.weight" in tensors
    if not found.is_found and not is_native:
        model = replace(model, path=_view(model.path, found, tensors))
    if (name := _to_merge(tensors, model.config)) is not None:
        path = merged(model.path)
        warnings.append(f"{spec} stores {name}, as no engine reads it; it is read through {path}, a copy without that")
        model = replace(model, path=path, config=resolve_model(str(path)).config)
        tensors, unread = _read(require_weights(path))
    return model, ModelCheck(model, tensors, warnings, is_native=is_native, unread=unread)


class ModelCheck:
    """The check of a model's weights against its class, under way."""

    def __init__(self, model: Model, tensors: Tensors, warnings: list[str], *, is_native: bool, unread: str) -> None:
        """Ask the class, unless nothing could be said against its answer."""
        self._model, self._tensors, self._warnings = model, tensors, warnings
        self._is_native = is_native
        self._unchecked = unread or _why_unchecked(model, is_native=is_native)
        self._question = None
        if not self._unchecked:
            shapes = {name: tensor.shape for name, tensor in tensors.items()}
            self._question = FitQuestion(model.config, model.path / "config.json", shapes)
            atexit.register(self._question.close)

    def finish(self, *, engine: str, trust_remote_code: bool = False) -> list[str]:
        """Return what is allowed and probably not meant; `engine` is one of ENGINES, or who else reads them.

        Raises UserError, naming the tensors, if the weights are not those of the class.
        """
        name = self._model.name
        about = engine_class(engine).about if engine in ENGINES else None
        if self._is_native and not (about and about.reads_native):
            able = " or ".join(name for name in ENGINES if engine_class(name).about.reads_native)
            raise UserError(
                f"{name} holds its weights in Mistral's own format (consolidated*.safetensors) alone, which {engine} "
                f"does not read; use --engine {able} or a folder with model*.safetensors"
            )
        fit = self._unchecked if self._question is None else self._question.answer()
        if not isinstance(fit, Fit):
            if QUANTISED in fit and (lost := lost_modules(self._model.config, self._tensors)):
                raise UserError(
                    f"the weights of {name} lack {len(lost)} tensors of {self._model.config['architectures'][0]} "
                    f"({_some(lost)}), in any form; is the folder complete?"
                )
            return [*self._warnings, f"names and shapes of {name}'s weights could not be checked: {fit}"]
        if fit.num_faults:
            message = _misfit(self._model, fit)
            own_code = trust_remote_code and "AutoModelForCausalLM" in (self._model.config.get("auto_map") or {})
            if not own_code or (about and about.has_own_classes):  # the code beside the model is not what runs
                raise UserError(message)
            return [*self._warnings, f"{message} (or its own code, which trust_remote_code runs, has other tensors)"]
        self._check_ties(fit)
        return self._warnings

    def _check_ties(self, fit: Fit) -> None:
        """Refuse a head of its own under a config that ties: transformers uses it, vLLM uses the embedding."""
        for alias, holder in fit.tied.items():
            if alias in self._tensors and holder in self._tensors and not self._is_same(alias, holder):
                raise UserError(
                    f"the config of {self._model.name} ties {alias} to {holder}, but other values are stored for it: "
                    'engines differ in which they use; set "tie_word_embeddings": false in its config.json to keep '
                    f"both, or remove {alias} from its weights"
                )

    def _is_same(self, alias: str, holder: str) -> bool:
        a, b = self._tensors[alias], self._tensors[holder]
        if isinstance(a, StoredTensor) and isinstance(b, StoredTensor):
            return a.dtype != b.dtype or _same_bytes(a, b)
        return not (isinstance(a, Parts) and isinstance(b, Parts)) or a.dtype != b.dtype or is_same(a, b)


def _left_out(folder: Path, found: WeightFiles) -> list[str]:
    warnings = []
    if adapters := [file.name for file in found.adapters]:
        warnings.append(
            f"{folder} holds a whole model and an adapter beside it: {', '.join(adapters)} left out, the "
            "adapter is not applied; if the weights do not hold it yet, move it to a folder of its own and merge it "
            "(tbench merge)"
        )
    if others := [str(file.relative_to(folder)) for file in found.left_out if file not in found.adapters]:
        chosen = found.index or found.files[0]
        warnings.append(f"{folder} holds more than one model's files: {chosen.name} is read, {_some(others)} left out")
    return warnings


def _read(found: WeightFiles) -> tuple[Tensors, str]:
    """Return the tensors' names and places, or why they cannot be read."""
    if not found.is_pickled:
        return read_headers(found), ""
    loaded, tensors = Loaded({}, []), dict[str, Parts]()
    try:
        for file in found.files:
            tensors |= plain.load_file(file, loaded)
    except UnknownFormat as error:
        return {}, str(error)
    return tensors, ""


def _to_merge(tensors: Tensors, config: dict[str, Any]) -> str | None:
    """Return a tensor that engines know by another name and `tbench merge` puts right, None if there is none."""
    is_tied = config.get("tie_word_embeddings") is True
    if is_tied and HEAD in tensors and not any(name.endswith(EMBEDDING) for name in tensors):
        return f"{HEAD} instead of the embedding that it is tied to"
    return wrapped_name(tensors, str(config["architectures"][0]))


def _why_unchecked(model: Model, *, is_native: bool) -> str:
    if is_native:
        return "they are in Mistral's own format"
    text = model.config.get("text_config")
    for config in (model.config, text if isinstance(text, dict) else {}):
        if any(config.get(key) for key in QUANTISED_KEYS):
            return QUANTISED
    if file := next((name for name in QUANTISED_FILES if (model.path / name).is_file()), None):
        return f"{QUANTISED} ({file})"
    return ""


def _misfit(model: Model, fit: Fit) -> str:
    faults = []
    if fit.missing:
        faults.append(f"{len(fit.missing)} missing ({_some(fit.missing)})")
    if fit.additional:
        faults.append(f"{len(fit.additional)} additional ({_some(fit.additional)})")
    if fit.misshapen:
        shapes = [f"{name} is {have}, the config makes it {want}" for name, have, want in fit.misshapen]
        faults.append(f"{len(fit.misshapen)} of another shape ({_some(shapes)})")
    fix = "is config.json that of these weights, and is the folder complete?"
    named = str(model.config["architectures"][0]).removeprefix("FSDP")
    if named != fit.cls:
        fix = f"config.json names {named}, a class that does not generate"
    elif set(fit.missing) - {HEAD} <= {f"model.{name}" for name in fit.additional} and fit.additional:
        fix = 'they lack the prefix "model.": load them with AutoModelForCausalLM and save them again'
    elif fit.missing == (HEAD,):
        fix = 'if its head is the embedding, set "tie_word_embeddings": true in its config.json, else save it again'
    elif any(0 in have for _, have, _ in fit.misshapen):
        fix = "empty tensors come of saving under ZeRO-3 without gathering; merge the checkpoint (tbench merge)"
    return f"the weights of {model.name} are not those of {fit.cls}: {'; '.join(faults)}; {fix}"


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _same_bytes(a: StoredTensor, b: StoredTensor) -> bool:
    with a.file.open("rb") as first, b.file.open("rb") as second:
        first.seek(a.start)
        second.seek(b.start)
        left = a.stop - a.start
        while left > 0:
            size = min(CHUNK_BYTES, left)
            if first.read(size) != second.read(size):
                return False
            left -= size
    return True


def _view(folder: Path, found: WeightFiles, tensors: Tensors) -> Path:
    """Return a temporary folder of links to the chosen weights, under the names that engines look for, and the rest."""
    try:
        home = Path(tempfile.mkdtemp(prefix="tbench-view-"))
        atexit.register(_remove, home, os.getpid())
        view = home / folder.name
        view.mkdir()
        for entry in folder.iterdir():
            is_weights = entry.name.endswith(WEIGHT_SUFFIXES) or entry.name.startswith((ADAPTER, ADAPTER_CONFIG))
            if (entry.is_file() and not is_weights) or entry.name == "additional_chat_templates":
                (view / entry.name).symlink_to(entry.absolute())
        for file, name in _names_in_view(found).items():
            (view / name).symlink_to(file.absolute())
        if found.index is not None:
            (view / found.index.name).symlink_to(found.index.absolute())
        elif len(found.files) > 1 and not found.is_pickled:
            _write_index(view, _names_in_view(found), tensors)
    except OSError as error:
        raise UserError(
            f"no folder of links to {folder} can be made in {tempfile.gettempdir()}: {error.strerror}; keep only the "
            "model's own files in it"
        ) from error
    return view


def _names_in_view(found: WeightFiles) -> dict[Path, str]:
    if found.index is not None or found.files[0].name in (SAFE, PICKLE):
        return {file: file.name for file in found.files}
    stem, suffix = (PICKLE if found.is_pickled else SAFE).split(".")
    if len(found.files) == 1:
        return {found.files[0]: f"{stem}.{suffix}"}
    count = len(found.files)
    return {file: f"{stem}-{i:05d}-of-{count:05d}.{suffix}" for i, file in enumerate(found.files, start=1)}


def _write_index(view: Path, names: dict[Path, str], tensors: Tensors) -> None:
    weight_map = {name: names[tensor.file] for name, tensor in tensors.items() if isinstance(tensor, StoredTensor)}
    (view / (SAFE + INDEX)).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")


def _remove(home: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves it to its parent
        shutil.rmtree(home, ignore_errors=True)
