"""Numbers that are none: what shows that a model computes NaN or infinity, and no sample comes of it.

Weights with a NaN, or a dtype that overflows (a bfloat16 model in float16), turn logits into NaN, and a sampler then
draws one token, mostly id 0, up to the cap: a score of 0.0 that looks like a weak model. Three nets, from certain to
likely:

- every engine refuses a step in which a running sample's logits hold a NaN (transformers: no finite maximum);
- vLLM, which counts NaN alone, is asked for the log-probability of one token of the first prompt, which infinity too
  makes NaN;
- whatever the cause, `MIN_REPEATS` samples in a row, of two problems at least, that are one and the same token up to
  the cap stop a run. They are withheld until another sample shows that the model can say something else. A weak model
  may repeat one token in a sample or a few, which are data; that eight in a row never say a second token, of different
  problems and seeds, has not been seen from a model that computes what its weights say.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tbrm_bench.errors import RunFailed
from tbrm_bench.records import Sample

if TYPE_CHECKING:
    import torch

MIN_REPEATS = 8
MIN_TOKENS = 16  # a shorter sample may well be one token throughout


def not_finite(dtype: str) -> RunFailed:
    """Return the error of logits that are not numbers; `dtype` is the one that the engine computes in."""
    return RunFailed(f"the model's logits are not finite: {_causes(dtype)}; the samples of this step are not stored")


def _causes(dtype: str) -> str:
    if dtype == "float16":
        return "its activations overflow in float16, or its weights hold NaN or infinity; use --set dtype=bfloat16"
    fix = "" if dtype == "float32" else " or try --set dtype=float32"
    return f"its weights hold NaN or infinity, or overflow in {dtype}; check the model's files{fix}"


def refuse_nans(core: Any, dtype: str) -> None:
    """Look at what the core of a vLLM engine hands over, in this process or another, before a sample is made of it."""
    get_output = core.get_output

    def checked() -> Any:
        outputs = get_output()
        if any(output.num_nans_in_logits for output in outputs.outputs):
            raise not_finite(dtype)
        return outputs

    core.get_output = checked


def withhold_repeats(batches: Iterable[list[Sample]], *, dtype: str) -> Iterator[list[Sample]]:
    """Yield the samples as they come; raise RunFailed instead of a row of samples that are one repeated token.

    What is in doubt is kept back until a sample that is not, or until the end.
    """
    doubtful: list[Sample] = []
    for samples in batches:
        passed: list[Sample] = []
        for sample in samples:
            token = _repeated_token(sample)
            if doubtful and token != doubtful[0].token_ids[0]:
                passed, doubtful = passed + doubtful, []
            if token is None:
                passed.append(sample)
            else:
                doubtful.append(sample)
        if passed:
            yield passed
        if len(doubtful) >= MIN_REPEATS and len({sample.key[:2] for sample in doubtful}) > 1:
            raise RunFailed(
                f"{len(doubtful)} samples in a row are token {doubtful[0].token_ids[0]} from the first token to the "
                f"cap, so the model computes nothing: {_causes(dtype)}; these samples are not stored"
            )
    if doubtful:
        yield doubtful


def _repeated_token(sample: Sample) -> int | None:
    ids = sample.token_ids
    is_one = sample.finish_reason == "length" and len(ids) >= MIN_TOKENS and ids.count(ids[0]) == len(ids)
    return ids[0] if is_one else None


class FiniteLogits:
    """A logits processor of transformers: raises RunFailed where a running row has no finite maximum."""

    def __init__(self, prompt_width: int, stop_token_ids: Sequence[int], dtype: str) -> None:
        """Take the number of columns that are prompt; a row ends with its first stop token after them."""
        self.prompt_width = prompt_width
        self.stop_token_ids = stop_token_ids
        self.dtype = dtype

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """Return the scores (B, V); rows that have ended and are not finite are set to 0."""
        import torch

        bad = ~scores.amax(dim=-1).isfinite()  # (B,)
        if not bad.any():
            return scores
        stops = torch.tensor(self.stop_token_ids, dtype=input_ids.dtype, device=input_ids.device)
        ended = torch.isin(input_ids[:, self.prompt_width :], stops).any(dim=-1)
        if (bad & ~ended).any():
            raise not_finite(self.dtype)
        return scores.masked_fill(bad[:, None], 0.0)
