"""A fingerprint of a model's weights that does not depend on how they are cut into files.

Every tensor is hashed by (name, dtype, shape, bytes) and the digests are combined in the order of names, so re-sharding
a checkpoint changes nothing and one flipped bit changes everything. The safetensors format is simple enough to read
without its library and without torch: eight bytes with the header's length, a JSON header, the tensors' bytes
(https://huggingface.co/docs/safetensors). Pickled weights are hashed as files: nothing is unpickled.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.weight_files import ADAPTER_CONFIG, WeightFiles, index_of, weight_files

CHUNK_BYTES = 1 << 22
MAX_HEADER_BYTES = 100_000_000  # the format's own limit


_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "half": "float16"}


def dtype_name(text: str) -> str:
    """Return the name of a dtype that is spelt in another way, `fp16` or `torch.float16`; other text as it is."""
    name = text.lower().removeprefix("torch.")
    return _DTYPES.get(name, name)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor's bytes lie: [start, stop) in its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    stop: int


def weights_fingerprint(model_dir: Path) -> str:
    """Return the SHA-256 over all weights, 64 hex digits.

    What is hashed is what is loaded (`weight_files`). Raises UserError if the folder holds no weights, a file is cut
    short or malformed, or a tensor is in two files.
    """
    found = require_weights(model_dir)
    if found.is_pickled:
        return _pickle_fingerprint(found.files)
    tensors = read_headers(found)
    ordered = [tensors[name] for name in sorted(tensors)]
    # hashlib lets go of the interpreter's lock, so threads use all cores.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        digests = list(pool.map(hash_stored, ordered))
    return combine_digests(digests)


def require_weights(model_dir: Path) -> WeightFiles:
    """Return which files are the weights; raises UserError where there are none."""
    found = weight_files(model_dir)
    if found is None and (model_dir / ADAPTER_CONFIG).is_file():
        raise UserError(
            f"{model_dir} holds an adapter and no model; merge it into its base: "
            f"tbench merge {model_dir} OUTPUT --base BASE"
        )
    if found is None:
        raise UserError(
            f"{model_dir} holds no weights (*.safetensors or pytorch_model*.bin); is the download complete?"
        )
    return found


def read_headers(found: WeightFiles) -> dict[str, StoredTensor]:
    """Return the tensors of all files; raises UserError for a tensor in two files, or elsewhere than the index says."""
    tensors: dict[str, StoredTensor] = {}
    for file in found.files:
        for tensor in read_header(file):
            if tensor.name in tensors:
                raise UserError(
                    f"tensor {tensor.name!r} is in both {tensors[tensor.name].file.name} and {file.name}; "
                    f"remove the file that does not belong to {file.parent}"
                )
            tensors[tensor.name] = tensor
    if found.index is not None:
        _check_index(found.index, tensors)
    return tensors


def _check_index(index: Path, tensors: dict[str, StoredTensor]) -> None:
    """An index that names a missing tensor means an incomplete download."""
    for name, shard in index_of(index).items():
        home = tensors[name].file.name if name in tensors else "no file"
        if home != shard:
            raise UserError(
                f"{index.name} says that {name!r} is in {shard}, but it is in {home}; is the download to "
                f"{index.parent} complete?"
            )


def tensor_hash(name: str, dtype: str, shape: tuple[int, ...]) -> "hashlib._Hash":
    """Return a hash that has taken a tensor's name, dtype and shape, and waits for its bytes."""
    return hashlib.sha256(json.dumps([name, dtype, list(shape)]).encode())


def combine_digests(digests: Iterable[bytes]) -> str:
    """Return the fingerprint of all weights from the tensors' digests, in the order of their names."""
    combined = hashlib.sha256()
    for digest in digests:
        combined.update(digest)
    return combined.hexdigest()


def read_header(file: Path) -> Iterator[StoredTensor]:
    """Yield the tensors of a safetensors file; raises UserError when the header does not fit the file."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            raise UserError(f"{file} is {size} bytes long, but its header claims {length}; download or write it again")
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
            tensors = [
                _stored(name, entry, file, 8 + length) for name, entry in header.items() if name != "__metadata__"
            ]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"{file} has a header that is not safetensors: {error!r}; write it again") from error
    end = 8 + length
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.stop)):
        if tensor.start != end or tensor.stop < tensor.start:
            raise UserError(
                f"{file}: tensor {tensor.name!r} starts at byte {tensor.start}, expected {end}; write it again"
            )
        end = tensor.stop
    if end != size:
        raise UserError(f"{file} is {size} bytes long, but its tensors end at byte {end}; download or write it again")
    yield from tensors


def _stored(name: str, entry: dict[str, Any], file: Path, base: int) -> StoredTensor:
    start, stop = (int(offset) for offset in entry["data_offsets"])
    return StoredTensor(
        name, str(entry["dtype"]), tuple(int(n) for n in entry["shape"]), file, base + start, base + stop
    )


def hash_stored(tensor: StoredTensor) -> bytes:
    """Return the digest of a stored tensor; raises UserError if its file ends early."""
    digest = tensor_hash(tensor.name, tensor.dtype, tensor.shape)
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.start)
        left = tensor.stop - tensor.start
        while left:
            chunk = stream.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise UserError(f"{tensor.file} ended while it was read; is something writing to it?")
            digest.update(chunk)
            left -= len(chunk)
    return digest.digest()


def _pickle_fingerprint(files: Iterable[Path]) -> str:
    combined = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            combined.update(hashlib.file_digest(stream, "sha256").digest())
    return combined.hexdigest()
