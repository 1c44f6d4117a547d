"""An existing merge against its source: every tensor read from both, cast again, compared by digest."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.merge.checkpoint import Checkpoint, CheckReport
from tbrm_bench.merge.detect import detect
from tbrm_bench.merge.flow import planned, verify
from tbrm_bench.merge.machine import memory_errors
from tbrm_bench.merge.model.manifest import NAME, read_manifest, source_files
from tbrm_bench.merge.model.writer import default_workers
from tbrm_bench.merge.pieces.stream import hash_tensor, output_tensor, storages_of
from tbrm_bench.merge.source.dtypes import BY_NAME
from tbrm_bench.weights import StoredTensor, combine_digests, hash_stored, read_header


def check(source: Path, merged: Path, *, step: int | None = None) -> CheckReport:
    """Compare a checkpoint with the folder that was merged from it.

    Raises UserError if either cannot be read or the two are swapped; a difference is reported, not raised.
    """
    if merged.is_dir() and not (merged / NAME).is_file() and (source / NAME).is_file():
        raise UserError(
            f"{source} has a {NAME} and {merged} does not, so they are swapped: give the checkpoint first, "
            "tbench merge CKPT OUT --check"
        )
    manifest = read_manifest(merged)
    stored = {tensor.name: tensor for file in sorted(merged.glob("*.safetensors")) for tensor in read_header(file)}
    if not stored:
        raise UserError(f"{merged} holds no *.safetensors")
    checkpoint = _find(source, step, manifest.get("step"))
    base = Path(manifest["base"]) if "base" in manifest else merged
    differing: list[tuple[str, str]] = []
    alpha, drop = manifest.get("lora_alpha"), manifest.get("drop", ())
    with (
        memory_errors(source),
        planned(checkpoint, base=base, wanted=None, lora_alpha=alpha, drop=drop) as plan,
    ):
        parts = plan.loaded.tensors
        differing += [(name, "is not in the source") for name in stored if name not in parts]
        differing += [(name, "is not in the merged model") for name in parts if name not in stored]
        both = [name for name in parts if name in stored]
        tensors = [output_tensor(name, parts[name], BY_NAME[stored[name].dtype]) for name in both]
        with ThreadPoolExecutor(max_workers=default_workers()) as pool:
            ours = dict(zip(both, pool.map(hash_tensor, tensors), strict=True))
            theirs = dict(zip(stored, pool.map(hash_stored, stored.values()), strict=True))
            list(pool.map(lambda storage: storage.finish(), storages_of(tensors)))
        warnings, unverified = list[str](), ""
        try:
            warnings, unverified = verify(plan)
        except RunFailed as error:
            differing.append(("config.json", f"does not fit: {error}"))
    differing += [(name, _why(stored[name], parts[name].shape)) for name in both if ours[name] != theirs[name]]
    fingerprint = combine_digests(theirs[name] for name in sorted(theirs))
    if fingerprint != manifest.get("fingerprint"):
        differing.append(("tbench_merge.json", "names another fingerprint than the weights have"))
    if source_files(checkpoint) != manifest.get("source"):
        differing.append(("tbench_merge.json", "names other source files than these"))
    return CheckReport(
        equal=not differing,
        num_tensors=len(both),
        num_bytes=sum(tensor.nbytes for tensor in tensors),
        fingerprint=fingerprint,
        differing=tuple(sorted(differing)),
        warnings=(*plan.loaded.warnings, *warnings),
        unverified=unverified,
    )


def _find(source: Path, step: int | None, merged_step: int | None) -> Checkpoint:
    """Return the source's checkpoint: the one asked for, the only one, or the step that was merged."""
    try:
        return detect(source, step=step)
    except UserError:
        if step is not None or merged_step is None:
            raise
        return detect(source, step=merged_step)


def _why(stored: StoredTensor, shape: tuple[int, ...]) -> str:
    if stored.shape != shape:
        return f"is {stored.shape}, the source's is {shape}"
    return "has other values than the source"
