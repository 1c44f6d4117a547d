"""Learning curves: the validation score of each training against the tokens that it has generated.

    arm,seed,step,generated_tokens,seconds,score       curves.csv, one row per validation
    tbrm,1,40,412034,105.2,0.413

The mean over an arm's seeds is taken at equal numbers of tokens: each seed's curve is interpolated linearly at every
point of any of them, as far as all reach. The band is ± one standard deviation between seeds, NaN with one seed.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tbrm_train.output.metrics_log import METRICS, TIMINGS, read_lines

SCORE = "validation/avg"
PAID = ("seconds/rollout", "seconds/update", "seconds/sync")


@dataclass(frozen=True, slots=True)
class Point:
    """A validation: the step, the tokens and seconds of all steps so far, and the score in [0, 1]."""

    step: int
    generated_tokens: float
    seconds: float
    score: float


@dataclass(frozen=True, slots=True)
class MeanCurve:
    """The mean over seeds by number of tokens, with the standard deviation between seeds."""

    generated_tokens: tuple[float, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]


def read_curve(output: Path) -> list[Point]:
    """Return the validations of a training, in order."""
    seconds = {line["step"]: sum(line.get(name) or 0.0 for name in PAID) for line in read_lines(output / TIMINGS)}
    points, tokens, spent = [], 0.0, 0.0
    for line in read_lines(output / METRICS):
        tokens += line.get("tokens/generated") or 0
        spent += seconds.get(line["step"], 0.0)
        if line.get(SCORE) is not None:
            points.append(Point(line["step"], tokens, spent, line[SCORE]))
    return points


def mean_curve(curves: Sequence[Sequence[Point]]) -> MeanCurve:
    """Return the mean over an arm's seeds; empty if there is no number of tokens that all have reached."""
    if not curves or not all(curves):
        return MeanCurve((), (), ())
    first = max(curve[0].generated_tokens for curve in curves)
    last = min(curve[-1].generated_tokens for curve in curves)
    grid = sorted({p.generated_tokens for curve in curves for p in curve if first <= p.generated_tokens <= last})
    table = np.array(
        [np.interp(grid, [p.generated_tokens for p in curve], [p.score for p in curve]) for curve in curves]
    )
    deviations = table.std(axis=0, ddof=1) if len(curves) > 1 else np.full(len(grid), math.nan)
    return MeanCurve(tuple(grid), tuple(map(float, table.mean(axis=0))), tuple(map(float, deviations)))


def curves_csv(curves: Sequence[tuple[str, int, Sequence[Point]]]) -> str:
    """Return (arm, seed, points) as CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["arm", "seed", "step", "generated_tokens", "seconds", "score"])
    for arm, seed, points in curves:
        for point in points:
            writer.writerow(
                [arm, seed, point.step, int(point.generated_tokens), f"{point.seconds:.3f}", f"{point.score:.6g}"]
            )
    return stream.getvalue()
