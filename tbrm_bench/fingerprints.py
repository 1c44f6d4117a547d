"""What a lock says of a model beside weights and config: the tokenizer that reads and writes its text, and its code.

The tokenizer is fingerprinted as it was loaded, by what decides which text a row of ids becomes: vocabulary, merges,
decoder, added and special tokens. What only encodes is in the lock by the prompts' ids. So a folder that was copied,
JSON that was laid out anew, or a chat template that renders the same prompts changes nothing, whichever file holds
what. Of a tokenizer that has no such parts, such as one of the model's own code, the files are hashed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.provenance import digest, file_sha256

# Where tokenizers without a tokenizer.json keep their vocabulary.
VOCABULARY_FILES = (
    "*.model",
    "*.tiktoken",
    "tekken.json",
    "vocab*",
    "merges.txt",
    "tokenizer.json",
    "added_tokens.json",
    "special_tokens_map.json",
)
# vLLM prefers these for Mistral's own models, beside whatever transformers reads.
MISTRAL_FILES = ("tekken.json", "tokenizer.model.v*")
WITH_AUTO_MAP = ("config.json", "tokenizer_config.json")


def tokenizer_fingerprint(tokenizer: Any, folder: Path) -> str:
    """Return the digest of a loaded tokenizer, 64 hex digits; `folder` is where it was loaded from."""
    facts: dict[str, Any] = {
        "special": sorted(tokenizer.all_special_ids),
        "clean_up": bool(getattr(tokenizer, "clean_up_tokenization_spaces", False)),
        "mistral": _hashes(folder, MISTRAL_FILES),
    }
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        facts |= {
            "files": _hashes(folder, VOCABULARY_FILES),
            "vocabulary": sorted(map(repr, tokenizer.get_vocab().items())),
        }
    else:
        # The library's own serialisation of its parts; of the decoder alone, since the whole one takes seconds.
        decoder = backend.decoder
        facts["model"] = hashlib.sha256(backend.model.__getstate__()).hexdigest()
        facts["decoder"] = None if decoder is None else json.loads(decoder.__getstate__())
        facts["added"] = [
            [number, token.content, token.special]
            for number, token in sorted(backend.get_added_tokens_decoder().items())
        ]
    return digest(facts)


def code_fingerprint(folder: Path) -> str | None:
    """Return the digest of the Python files of a model whose config names code of its own, None of any other model."""
    if not any(_names_code(folder / name) for name in WITH_AUTO_MAP):
        return None
    files = (file.relative_to(folder) for file in folder.rglob("*.py"))
    visible = sorted(file.as_posix() for file in files if not any(part.startswith(".") for part in file.parts))
    return digest({name: file_sha256(folder / name) for name in visible})


def _names_code(file: Path) -> bool:
    if not file.is_file():
        return False
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    return isinstance(content, Mapping) and bool(content.get("auto_map"))


def _hashes(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    return {file.name: file_sha256(file) for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
