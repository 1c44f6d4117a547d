"""How often do the intervals of docs/metrics.md hold the true value? Invented benchmarks with known solve rates.

    python benchmarks/interval_coverage.py
    problems  samples    beta      true  avg +- 1.96 se  Wilson, t, n_eff
          30       32  0.3, 2.7   0.100           0.909             0.936

A problem's solve rate is drawn from beta(a, b), its samples from that rate; the true score is a / (a + b). With one
sample per problem only the mean of the beta matters.
"""

import argparse
import functools

import numpy as np

from tbrm_bench.metrics.intervals import confidence_interval, macro_interval, standard_error

ROWS = (
    (30, 1, 0.3, 2.7),
    (30, 32, 0.3, 2.7),
    (30, 32, 0.108, 2.892),
    (30, 32, 0.036, 0.964),
    (30, 32, 1.5, 1.5),
    (30, 1, 1.5, 1.5),
    (500, 1, 2.01, 0.99),
)
# Of the shape of tbrm6: problems, samples, a, b of each task.
SUITE = (
    (30, 32, 0.3, 2.7),
    (30, 32, 0.3, 2.7),
    (40, 16, 1.5, 1.5),
    (500, 1, 2.01, 0.99),
    (272, 1, 0.9, 2.1),
    (674, 1, 1.0, 2.0),
)


def main() -> None:
    """Print the coverage of each row, then that of the mean over the tasks of a suite."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num-benchmarks", type=int, default=20_000)
    num = parser.parse_args().num_benchmarks
    print("problems  samples        beta    true  avg +- 1.96 se  Wilson, t, n_eff")
    for seed, (problems, samples, a, b) in enumerate(ROWS):
        truth = a / (a + b)
        means, errors, lows, highs = _draw(problems, samples, a, b, num=num, seed=seed)
        normal = np.mean(np.abs(means - truth) <= 1.96 * errors)
        ours = np.mean((lows <= truth) & (truth <= highs))
        print(f"{problems:8} {samples:8} {a:6}, {b:5} {truth:7.3f} {normal:15.3f} {ours:17.3f}")
    tasks = [_draw(*task, num=num, seed=100 + i) for i, task in enumerate(SUITE)]
    truth = float(np.mean([a / (a + b) for _, _, a, b in SUITE]))
    bounds = [macro_interval(*([task[part][i] for task in tasks] for part in (0, 2, 3))) for i in range(num)]
    print(f"mean over {len(SUITE)} tasks: {np.mean([low <= truth <= high for low, high in bounds]):.3f}")


def _draw(problems: int, samples: int, a: float, b: float, *, num: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return mean, standard error, low and high of `num` invented benchmarks, each (num,)."""
    rng = np.random.default_rng(seed)
    values = rng.binomial(samples, rng.beta(a, b, (problems, num))) / samples
    means, errors = values.mean(axis=0), np.asarray(standard_error(values))
    interval = functools.cache(lambda mean, se: confidence_interval(mean, se, num_clusters=problems))
    lows, highs = np.transpose([interval(*pair) for pair in zip(means.tolist(), errors.tolist(), strict=True)])
    return means, errors, lows, highs


if __name__ == "__main__":
    main()
