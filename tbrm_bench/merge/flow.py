"""A merge from end to end: recognise, read the tables, plan, write beside, verify, rename.

merge(Path("runs/grpo/global_step_100"), Path("models/grpo-100"), dtype="bfloat16")
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tbrm_bench.disk import disk_errors
from tbrm_bench.errors import UserError
from tbrm_bench.files import check_free, new_folder
from tbrm_bench.merge.checkpoint import Checkpoint, MergeReport
from tbrm_bench.merge.detect import detect
from tbrm_bench.merge.formats import load, lora
from tbrm_bench.merge.machine import memory_errors
from tbrm_bench.merge.model.assets import Assets, find_assets
from tbrm_bench.merge.model.expected import ClassQuestion, Expected
from tbrm_bench.merge.model.manifest import write_beside
from tbrm_bench.merge.model.ties import resolve_ties, tied_by_name
from tbrm_bench.merge.model.verify import check_names
from tbrm_bench.merge.model.wrappers import clean_names, drop_matching
from tbrm_bench.merge.model.writer import Progress, parse_size, plan_shards, write_shards
from tbrm_bench.merge.pieces.stream import OutputTensor, output_tensor
from tbrm_bench.merge.pieces.tiling import Loaded
from tbrm_bench.merge.source.byte_ranges import check_unchanged
from tbrm_bench.merge.source.dtypes import DType, parse_dtype, target_dtype
from tbrm_bench.weights import combine_digests


@dataclass(frozen=True, slots=True)
class MergePlan:
    """All that is known before the first byte is written."""

    checkpoint: Checkpoint
    assets: Assets
    loaded: Loaded
    tensors: tuple[OutputTensor, ...]
    tied: tuple[tuple[str, str], ...]
    question: ClassQuestion
    base: Path | None


def merge(
    source: Path,
    output: Path,
    *,
    base: Path | None = None,
    dtype: str | None = None,
    max_shard_size: int | str = "5GB",
    step: int | None = None,
    num_workers: int | None = None,
    progress: Progress | None = None,
    lora_alpha: float | None = None,
    drop: Sequence[str] = (),
) -> MergeReport:
    """Write the checkpoint in `source` as a Hugging Face model folder `output`.

    `base` is the folder of the model that training started from: it gives the weights under a LoRA adapter, and config
    or tokenizer where the checkpoint has none. `dtype` (float32, bfloat16, float16) is what floats are written in, the
    stored type if left out. `progress` is called with the bytes done and the bytes in all. `lora_alpha` is for adapters
    inside of shards whose folder does not say it. `drop` are names of tensors to leave out (`*` matches any part).

    `output` appears whole or not at all. Raises UserError (2) for a source that is not one whole checkpoint, RunFailed
    (1) for a full disk, NaN, or tensors that the config's class does not fit.
    """
    started = time.perf_counter()
    wanted, max_bytes = parse_dtype(dtype), parse_size(max_shard_size)
    if num_workers is not None and num_workers < 1:
        raise UserError(f"num_workers is {num_workers}; give at least 1")
    check_free(output)
    checkpoint = detect(source, step=step)
    with (
        memory_errors(source),
        planned(checkpoint, base=base, wanted=wanted, lora_alpha=lora_alpha, drop=drop) as plan,
        new_folder(output) as folder,
    ):
        if plan.question.is_answered():  # a misfit is known before anything is written
            verify(plan)
        shards = plan_shards(plan.tensors, max_bytes)
        digests = write_shards(folder, output, shards, workers=num_workers, progress=progress)
        check_unchanged(plan.loaded.files)
        warnings, unverified = verify(plan)
        fingerprint = combine_digests(digests[name] for name in sorted(digests))
        with disk_errors(output):
            write_beside(
                folder,
                checkpoint,
                plan.assets,
                plan.tensors,
                fingerprint,
                base=plan.base,
                alpha=lora_alpha,
                drop=drop,
                unverified=unverified,
            )
        return MergeReport(
            output=output,
            format=checkpoint.format,
            world_size=checkpoint.world_size,
            step=checkpoint.step,
            num_tensors=len(plan.tensors),
            num_bytes=sum(tensor.nbytes for tensor in plan.tensors),
            dtypes=tuple(dict.fromkeys(tensor.dtype.torch for tensor in plan.tensors)),
            files=tuple(shard.name for shard in shards),
            dropped=tuple(plan.loaded.dropped),
            tied=_all_ties(plan),
            fingerprint=fingerprint,
            verified=not unverified,
            seconds=time.perf_counter() - started,
            unverified=unverified,
            warnings=(*checkpoint.notes, *plan.loaded.warnings, *warnings),
        )


@contextmanager
def planned(
    checkpoint: Checkpoint,
    *,
    base: Path | None,
    wanted: DType | None,
    lora_alpha: float | None = None,
    drop: Sequence[str] = (),
) -> Iterator[MergePlan]:
    """Yield what will be written and where it comes from; the source is open inside of the block."""
    base = lora.find_base(checkpoint, base)
    assets = find_assets(checkpoint, base)
    question = ClassQuestion(assets.config, assets.config_file)
    try:
        loaded = load(checkpoint, wanted)
        clean_names(loaded, assets.architecture)
        drop_matching(loaded, drop)
        _drop_buffers(loaded, assets, question)
        used_base = lora.apply(checkpoint, loaded, base=base, alpha=lora_alpha, assets=assets, question=question)
        tied = resolve_ties(loaded, assets.ties, _tied_by_class(loaded, assets, question))
        if not loaded.tensors:
            raise UserError(f"{checkpoint.root} holds no weights of a model")
        tensors = tuple(
            output_tensor(name, parts, target_dtype(parts.dtype, wanted)) for name, parts in loaded.tensors.items()
        )
        yield MergePlan(checkpoint, assets, loaded, tensors, tuple(tied), question, used_base)
    finally:
        question.close()


def _drop_buffers(loaded: Loaded, assets: Assets, question: ClassQuestion) -> None:
    """Leave out buffers that training code added to the model; engines refuse tensors that they do not know."""
    buffers = loaded.buffers & loaded.tensors.keys()
    if buffers and isinstance(answer := question.answer(), Expected):
        for name in sorted(buffers - answer.names.keys() - answer.stored.keys()):
            loaded.drop(name, f"a buffer, which {assets.architecture} does not have")


def _tied_by_class(loaded: Loaded, assets: Assets, question: ClassQuestion) -> dict[str, str]:
    """Ask the class what it ties, where the config and the names do not tell it.

    Whether the answer happens to be there already must not matter: a merge gives the same twice.
    """
    if assets.ties is None or (assets.ties and not tied_by_name(loaded)):
        answer = question.answer()
        if isinstance(answer, Expected):
            return answer.tied
    return {}


def _all_ties(plan: MergePlan) -> tuple[tuple[str, str], ...]:
    """Return the ties that were resolved, and those of the class whose second name the checkpoint never had."""
    answer = plan.question.answer()
    by_class = answer.tied if isinstance(answer, Expected) else {}
    written = {tensor.name for tensor in plan.tensors}
    more = {alias: name for alias, name in by_class.items() if alias not in written and name in written}
    return tuple(sorted((more | dict(plan.tied)).items()))


def verify(plan: MergePlan) -> tuple[list[str], str]:
    """Hold names and shapes against the model's class; return warnings, and why that could not be done, if so.

    Raises RunFailed, naming the tensors, if they do not fit.
    """
    answer = plan.question.answer()
    if not isinstance(answer, Expected):
        warning = f"names and shapes were NOT checked against {plan.assets.architecture}: {answer}"
        return [f"{warning}; --probe shows whether the model loads"], answer
    have = {tensor.name: tensor.shape for tensor in plan.tensors}
    return check_names(have, answer, [name for name, _ in plan.loaded.dropped]), ""
