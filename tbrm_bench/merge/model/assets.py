"""What a model folder holds beside its weights: config, generation config, tokenizer, chat template, processor.

They are looked for beside the shards (huggingface/, the folder itself, the two above it), then in `--base`. The
config's dtype is set to the one that is written; all else is copied as it is.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "*.tiktoken", "tekken.json")
TOKENIZER_FILES = (
    *TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "vocab.txt",
    "chat_template.json", "chat_template.jinja", "additional_chat_templates/*",
)  # fmt: skip
CONFIG_FILES = ("generation_config.json", "preprocessor_config.json", "processor_config.json", "*.py")
MAX_JSON_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Assets:
    """The config as read, where it was found, and the files to copy with their path in the new folder."""

    config: dict[str, Any]
    config_file: Path
    files: tuple[tuple[Path, str], ...]
    tokenizer_home: Path

    @property
    def architecture(self) -> str:
        """The class that the config names."""
        return str(self.config["architectures"][0])

    @property
    def ties(self) -> bool | None:
        """Whether the output head shares the embedding's weights; None where the config leaves it to the class."""
        for config in (self.config, self.config.get("text_config")):
            if isinstance(config, dict) and isinstance(config.get("tie_word_embeddings"), bool):
                return bool(config["tie_word_embeddings"])
        return None


def find_assets(checkpoint: Checkpoint, base: Path | None) -> Assets:
    """Find config and tokenizer; raises UserError where one is missing or names no architecture."""
    homes = [*checkpoint.homes, *([base] if base is not None else [])]
    config_home = next((home for home in homes if _is_config(home / "config.json")), None)
    if config_home is None:
        raise UserError(
            f"{checkpoint.root} has no config.json beside it; give the model that training started from with --base"
        )
    tokenizer_home = next((home for home in homes if _matches(home, TOKENIZERS)), None)
    if tokenizer_home is None:
        raise UserError(
            f"{checkpoint.root} has no tokenizer beside it; give the model that training started from with --base"
        )
    config_file = config_home / "config.json"
    config = _with_architecture(config_file, read_json(config_file))
    files = [(path, path.relative_to(tokenizer_home).as_posix()) for path in _matches(tokenizer_home, TOKENIZER_FILES)]
    for pattern in CONFIG_FILES:
        home = next((home for home in (config_home, *homes) if _matches(home, (pattern,))), None)
        # Code belongs to its config: that of another folder is not taken.
        if home is not None and (pattern != "*.py" or (home == config_home and "auto_map" in config)):
            files += [(path, path.name) for path in _matches(home, (pattern,))]
    return Assets(config, config_file, tuple(dict.fromkeys(files)), tokenizer_home)


def output_config(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Return the config with the dtype that the weights are stored in."""
    keys = [key for key in ("dtype", "torch_dtype") if key in config] or ["torch_dtype"]
    changed = config | dict.fromkeys(keys, dtype)
    for key, part in config.items():
        if isinstance(part, dict) and {"dtype", "torch_dtype"} & part.keys() and "hidden_size" in part:
            changed[key] = part | {name: dtype for name in ("dtype", "torch_dtype") if name in part}
    return changed


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON object; raises UserError if the file is not one, or is larger than any real one."""
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"{file} has {file.stat().st_size} bytes, too many for a JSON file of a model")
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{file} is not a JSON object")
    return value


def _is_config(file: Path) -> bool:
    return file.is_file() and ("model_type" in (config := read_json(file)) or "architectures" in config)


def _with_architecture(file: Path, config: dict[str, Any]) -> dict[str, Any]:
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise UserError(
            f'{file} names no architecture; add "architectures": ["..."], as the config of the model has it that '
            "training started from"
        )
    # fully_shard gives a module's class a name of its own, which some trainers then save.
    return config | {"architectures": [name.removeprefix("FSDP") if isinstance(name, str) else name for name in names]}


def _matches(home: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(home.glob(pattern)) if path.is_file()]
