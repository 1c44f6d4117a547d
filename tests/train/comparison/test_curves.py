"""Learning curves: cumulative costs, means at equal tokens, and a figure whose marks are where the numbers put them."""

import csv
import io
import itertools
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.errors import UserError
from tbrm_train.comparison.curves import MeanCurve, Point, curves_csv, mean_curve, read_curve
from tbrm_train.comparison.figure import BOTTOM, LEFT, RIGHT, TOP, learning_curves_svg, ticks
from tbrm_train.output.metrics_log import METRICS, TIMINGS

SVG = "{http://www.w3.org/2000/svg}"


def curve(*pairs: tuple[float, float]) -> list[Point]:
    return [Point(step, tokens, 0.0, score) for step, (tokens, score) in enumerate(pairs)]


def test_a_curve_counts_what_all_steps_before_have_cost(tmp_path: Path) -> None:
    metrics = [
        {"step": 0, "validation/avg": 0.25},
        {"step": 1, "tokens/generated": 100},
        {"step": 2, "tokens/generated": 50, "validation/avg": 0.5},
        {"step": 3, "tokens/generated": 70, "validation/avg": None},
    ]
    timings = [{"step": 1, "seconds/rollout": 1.0, "seconds/validation": 7.0}, {"step": 2, "seconds/update": 2.0}]
    for name, lines in (("metrics", metrics), ("timings", timings)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_curve(tmp_path) == [Point(0, 0, 0.0, 0.25), Point(2, 150, 3.0, 0.5)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"step": 1, "tokens/gen', "cannot be read as JSON"),
        ('{"step": 1, "validation/avg": NaN}', "NaN is not JSON"),
        ('{"step": 1, "step": 2}', "the key 'step' is in one object twice"),
    ],
)
def test_a_damaged_line_is_named(line: str, why: str, tmp_path: Path) -> None:
    (tmp_path / TIMINGS).write_text('{"step": 1}\n')
    (tmp_path / METRICS).write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(UserError, match=rf"metrics.jsonl, line 2, .*{why}"):
        read_curve(tmp_path)


def test_the_mean_is_taken_at_equal_tokens() -> None:
    """Two lines of slope 1 and 3 per 100 tokens: their mean has slope 2, their deviation grows with the distance."""
    mean = mean_curve([curve((0, 0.0), (50, 0.5), (100, 1.0)), curve((0, 0.0), (80, 0.24), (160, 0.48))])
    assert mean.generated_tokens == (0, 50, 80, 100), "as far as both reach"
    assert mean.mean == pytest.approx([0, 0.325, 0.52, 0.65])
    assert mean.sd == pytest.approx([abs(0.01 - 0.003) * tokens / math.sqrt(2) for tokens in (0, 50, 80, 100)])


def test_one_seed_has_no_band_and_no_seed_no_curve() -> None:
    assert all(map(math.isnan, mean_curve([curve((0, 0.1), (9, 0.2))]).sd))
    assert mean_curve([]) == mean_curve([[], curve((0, 0.1))]) == MeanCurve((), (), ())


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=4), st.randoms())
def test_the_order_of_seeds_does_not_matter(scores: list[list[float]], random: Random) -> None:
    curves = [curve(*zip((0, 10, 20 + n), row, strict=True)) for n, row in enumerate(scores)]
    ours = mean_curve(curves)
    random.shuffle(curves)
    theirs = mean_curve(curves)
    assert ours.generated_tokens == theirs.generated_tokens
    assert ours.mean == pytest.approx(theirs.mean)
    assert ours.sd == pytest.approx(theirs.sd, nan_ok=True, abs=1e-12)


def test_the_csv_is_read_back() -> None:
    text = curves_csv([("a,b", 1, curve((0, 0.25), (10, 0.5))), ("c", 2, [])])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["arm"], row["seed"], row["generated_tokens"], row["score"]) for row in rows] == [
        ("a,b", "1", "0", "0.25"),
        ("a,b", "1", "10", "0.5"),
    ]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_enclose(low: float, span: float) -> None:
    high = low + span
    found = ticks(low, high)
    step = found[1] - found[0] if len(found) > 1 else math.nan
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= 8 or step < slack


def figure(curves: dict[str, MeanCurve]) -> ElementTree.Element:
    return ElementTree.fromstring(learning_curves_svg(curves, title="<a> & b", score="avg@4 (%)", band="± one sd"))


def test_marks_stand_where_the_numbers_say() -> None:
    """From 0 % at the bottom to 50 % at the top, from 0 tokens at the left to 2 millions at the right."""
    root = figure({"grpo": MeanCurve((0.0, 1e6, 2e6), (0.0, 0.25, 0.5), (math.nan,) * 3)})
    (line,) = [path for path in root.iter(f"{SVG}path") if path.get("class") == "line"]
    numbers = [float(word) for word in re.findall(r"[\d.]+", line.get("d", ""))]
    middle = ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2)
    assert numbers == pytest.approx([LEFT, BOTTOM, *middle, RIGHT, TOP])
    texts = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert {"generated tokens (millions)", "avg@4 (%)", "<a> & b", "grpo 50.0"} <= set(texts)
    assert not [path for path in root.iter(f"{SVG}path") if path.get("class") == "band"], "one seed has no band"
    assert "± one sd" not in texts


def test_labels_of_many_arms_do_not_overlap_and_stay_inside() -> None:
    curves = {f"arm-{n}<": MeanCurve((0.0, 5e3), (0.4, 0.5 + 0.001 * n), (0.01, 0.02)) for n in range(8)}
    root = figure(curves)
    labels = sorted(
        float(node.get("y", "")) for node in root.iter(f"{SVG}text") if (node.text or "").startswith("arm-")
    )
    assert len(labels) == 8
    assert all(later - earlier >= 13 for earlier, later in itertools.pairwise(labels))
    assert labels[0] > TOP - 20
    assert labels[-1] < BOTTOM + 20
    assert sum(path.get("class") == "band" for path in root.iter(f"{SVG}path")) == 8


def test_nothing_to_draw_is_an_empty_figure() -> None:
    assert not list(figure({"grpo": MeanCurve((), (), ())}).iter(f"{SVG}path"))
