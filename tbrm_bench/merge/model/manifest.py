"""The note in a merged folder that says what it was made of: `tbench_merge.json`.

    {"fingerprint": "9f2c...", "format": "fsdp", "world_size": 4, "step": 100, "dtypes": ["bfloat16"],
     "source": [{"name": "model_world_size_4_rank_0.pt", "size": 1543714304, "identity": "51ab..."}, ...],
     "versions": {"tbrm-bench": "0.1.0", ...}}

`fingerprint` is that of `tbrm_bench.weights`, which runs keep in their locks. `identity` tells one content of a source
file from another: for what torch.save wrote the SHA-256 of its directory, which holds a checksum of every tensor, so
that gigabytes need not be read; for other files the SHA-256 of all their bytes.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.model.assets import Assets, output_config, read_json
from tbrm_bench.merge.pieces.stream import OutputTensor
from tbrm_bench.merge.refusals import DamagedFile
from tbrm_bench.merge.source.archive import archive_start, read_directory
from tbrm_bench.merge.source.byte_ranges import SourceFile
from tbrm_bench.provenance import file_sha256, versions

NAME = "tbench_merge.json"


def write_beside(
    folder: Path,
    checkpoint: Checkpoint,
    assets: Assets,
    tensors: Sequence[OutputTensor],
    fingerprint: str,
    *,
    base: Path | None,
    alpha: float | None,
    drop: Sequence[str],
    unverified: str = "",
) -> None:
    """Write config, tokenizer and manifest beside the weights."""
    for source, name in assets.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    dtypes = list(dict.fromkeys(tensor.dtype.torch for tensor in tensors))
    main = max(dtypes, key=lambda dtype: sum(tensor.nbytes for tensor in tensors if tensor.dtype.torch == dtype))
    _write_json(folder / "config.json", output_config(assets.config, main))
    manifest: dict[str, Any] = {
        "fingerprint": fingerprint,
        "format": checkpoint.format,
        "world_size": checkpoint.world_size,
        "step": checkpoint.step,
        "dtypes": dtypes,
        "source": source_files(checkpoint),
        "versions": versions(),
    }
    if base is not None:
        manifest["base"] = str(base)
    if alpha is not None:
        manifest["lora_alpha"] = alpha
    if unverified:
        manifest["unverified"] = unverified
    if drop:
        manifest["drop"] = list(drop)
    _write_json(folder / NAME, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the note of a merged folder; raises UserError if there is none."""
    if not (folder / NAME).is_file():
        raise UserError(f"{folder} has no {NAME}: it was not written by tbench merge")
    return read_json(folder / NAME)


def is_merge_of(folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether a folder was merged from these very files."""
    return (folder / NAME).is_file() and read_json(folder / NAME).get("source") == source_files(checkpoint)


def source_files(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Return name, size and identity of the model's files."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        identities = list(pool.map(identity, checkpoint.files))
    return [
        {"name": path.relative_to(checkpoint.root).as_posix(), "size": path.stat().st_size, "identity": digest}
        for path, digest in zip(checkpoint.files, identities, strict=True)
    ]


def identity(path: Path) -> str:
    """Return a digest that changes when the file's content does."""
    file = SourceFile(path)
    table = _checksums(file) if file.size >= 4 and file.read(0, 4) == b"PK\x03\x04" else None
    if table is not None:
        return hashlib.sha256(json.dumps([file.size, table]).encode()).hexdigest()
    return file_sha256(path)


def _checksums(file: SourceFile) -> list[Any] | None:
    """Return the records of all archives in the file with their checksums, None where not all of it is covered."""
    table: list[Any] = []
    stop = file.size
    while stop > 0:
        try:
            start = archive_start(file, stop)
            _, records = read_directory(file, start, stop - start)
        except DamagedFile:
            return None
        if any(record.crc is None for record in records.values()):
            return None
        table.append([[record.name, record.offset, record.size, record.crc] for record in records.values()])
        stop = start
    return table


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
