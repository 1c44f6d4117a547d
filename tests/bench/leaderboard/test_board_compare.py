"""Two rows side by side in the browser give the numbers of metrics.paired; the picture of cost tells the truth."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, Page
from sites import TASKS, make_board, measured, mixed, reported, site_of

from tbrm_bench.leaderboard.board import Board
from tbrm_bench.leaderboard.ranks import pair_p_values
from tbrm_bench.leaderboard.rows import BoardRow
from tbrm_bench.metrics.paired import PairedDifference, cluster_shares, macro_difference, paired_difference

MINUS = "\u2212"  # as it is printed
ASK = """
(async (i, j) => {
  const [a, b] = [board.rows[i], board.rows[j]];
  const [one, two] = await Promise.all([loadCounts(a), loadCounts(b)]);
  return differences(board, a, b, one, two);
})"""


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return make_board(tmp_path)


def expected(a: BoardRow, b: BoardRow) -> list[PairedDifference]:
    """The differences by task and of the mean, from the module that every comparison of the bench uses."""
    tasks, shares = [], []
    for name in a.tasks:
        one, two = a.tasks[name], b.tasks[name]
        x, y = ([task.scores[problem] for problem in one.scores] for task in (one, two))
        clusters = [one.cluster[problem] for problem in one.scores]
        tasks.append(paired_difference(x, y, clusters))
        shares.append(cluster_shares([q - p for p, q in zip(x, y, strict=True)], clusters))
    return [*tasks, macro_difference(tasks, shares)]


def assert_same(found: list[dict[str, Any]], wanted: list[PairedDifference]) -> None:
    assert len(found) == len(wanted)
    for one, two in zip(found, wanted, strict=True):
        numbers = [one[key] for key in ("mean", "se", "low", "high")]
        assert numbers == pytest.approx([two.mean, two.se, two.ci_low, two.ci_high], rel=1e-12, abs=1e-14)
        assert one["isPaired"]


@pytest.mark.parametrize("metric", ["avg@k", "pass@1"])
def test_the_differences_are_those_of_the_bench(tmp_path: Path, chromium: Chromium, metric: str) -> None:
    """Clusters, several samples, a row against itself (no question answered differently), the last against the best."""
    board = make_board(tmp_path, metric=metric)
    rows = [measured(board, f"m{number}", share=share) for number, share in enumerate((0.9, 0.6, 0.55, 0.1, 0.0, 1.0))]
    page = chromium.open(site_of(board, rows, tmp_path / "site").as_uri())
    for i, j in [*itertools.combinations(range(len(rows)), 2), (1, 1)]:
        assert_same(page.run(f"{ASK}({i}, {j})"), expected(rows[i], rows[j]))
    assert page.complaints == []


def test_what_is_read_is_what_was_computed(board: Board, tmp_path: Path, chromium: Chromium) -> None:
    rows = [measured(board, "one", share=0.4), measured(board, "two", share=0.5)]
    page = chromium.open(site_of(board, rows, tmp_path / "site").as_uri())
    page.wait("document.querySelectorAll('#differences tr').length === 4")
    cells = page.run("[...$('differences').children].map((tr) => [...tr.children].map((td) => td.textContent))")
    for (name, _, _, delta, interval, _, how), wanted in zip(cells, expected(*rows), strict=True):
        assert name in (*board.tasks, "mean")
        mean, se = (float(text) for text in delta.replace(MINUS, "-").split(" ± "))
        low, high = (float(text) for text in interval.replace(MINUS, "-").split(" to "))
        numbers = [100 * value for value in (wanted.mean, wanted.se, wanted.ci_low, wanted.ci_high)]
        assert [mean, se, low, high] == pytest.approx(numbers, abs=0.0501)
        assert how == "paired"
    p = pair_p_values(rows)[0, 1]
    assert p == pytest.approx(expected(*rows)[-1].p_value, abs=0.002)
    said = "< 0.0001" if p < 0.0001 else f"= {p:.2g}"
    assert page.run("$('verdict').textContent").endswith(f"question by question; p {said} (before Holm's correction).")


def test_without_counts_on_both_sides_two_errors_are_independent(
    board: Board, tmp_path: Path, chromium: Chromium
) -> None:
    rows = [measured(board, "mine", share=0.9), reported(board, "theirs", 0.4)]
    page = chromium.open(site_of(board, rows, tmp_path / "site").as_uri())
    found = page.run(f"{ASK}(0, 1)")
    assert [row["isPaired"] for row in found] == [False] * 4
    se = math.hypot(rows[0].se, rows[1].se)
    mean = rows[1].score - rows[0].score
    assert found[-1]["se"] == pytest.approx(se, abs=1e-7)
    assert [found[-1]["low"], found[-1]["high"]] == pytest.approx(
        [mean - 1.959964 * se, mean + 1.959964 * se], abs=1e-6
    )
    page.wait("$('verdict').textContent.includes('taken as independent')")
    p = 2 * (1 - 0.5 * (1 + math.erf(abs(mean) / se / math.sqrt(2))))
    assert pair_p_values(rows)[0, 1] == pytest.approx(p, rel=1e-6)


def test_500_rows_are_light_and_counts_come_when_they_are_asked_for(
    board: Board, tmp_path: Path, chromium: Chromium
) -> None:
    rows = [measured(board, f"m{number:03}", share=1 - number / 500) for number in range(500)]
    index = site_of(board, rows, tmp_path / "site")
    assert (index.parent / "data.js").stat().st_size < 150_000
    page = chromium.open(index.as_uri())
    page.wait("document.querySelectorAll('#differences tr').length === 4")
    assert page.run("COUNTS.size") == 2
    assert_same(page.run(f"{ASK}(3, 490)"), expected(rows[3], rows[490]))
    assert page.run("COUNTS.size") == 4
    assert "no p-value: the board has too many rows" in page.run("$('verdict').textContent")


def test_the_curves_of_both_rows_are_drawn_and_told(board: Board, tmp_path: Path, chromium: Chromium) -> None:
    rows = [measured(board, "mine", share=0.5), measured(board, "yours", share=0.3), reported(board, "theirs", 0.1)]
    page = chromium.open(site_of(board, rows, tmp_path / "site").as_uri())
    page.wait("document.querySelectorAll('#curves svg').length === 2")  # the two tasks with several samples
    said = page.run("[...document.querySelectorAll('#curves svg')].map((svg) => svg.getAttribute('aria-label'))")
    k = TASKS["aime24"][1]
    first = float(said[0].removeprefix("pass@k of aime24: A from ").partition(" at k = 1 to ")[0])
    assert first == pytest.approx(100 * rows[0].tasks["aime24"].score, abs=0.0501)
    assert said[0].endswith(f"at k = {k}")
    assert "; B from " in said[0]
    page.run("$('a').value = $('b').value = 'theirs'; $('a').dispatchEvent(new Event('input'))")
    page.run("$('b').value = 'theirs'; $('b').dispatchEvent(new Event('input'))")
    page.wait("$('curves-note').textContent === 'Neither row has counts of several samples.'")


def points(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.run(
        """[...document.querySelectorAll("#cost a")].map((a) => { const dot = a.lastElementChild;
          return { said: a.getAttribute("aria-label"), x: +dot.getAttribute("cx"), y: +dot.getAttribute("cy"),
                   error: a.querySelector(".error").getBBox().height, shown: getComputedStyle(a).display !== "none" };
        })"""
    )
    return found


def test_the_points_stand_where_their_numbers_are(board: Board, tmp_path: Path, chromium: Chromium) -> None:
    rows = mixed(board)
    page = chromium.open(site_of(board, rows, tmp_path / "site").as_uri())
    counted = [row for row in rows if row.cost is not None]
    assert 1 < len(counted) < len([row for row in rows if row.kind == "measured"])
    found = points(page)
    assert [point["said"].partition(":")[0] for point in found] == [row.name for row in counted]
    # Two points fix each axis; all others must agree with them, in the logarithm of the cost and in the score.
    x = [math.log(row.cost or 0) for row in counted]
    y = [row.score for row in counted]
    for key, values in (("x", x), ("y", y)):
        slope = (found[-1][key] - found[0][key]) / (values[-1] - values[0])
        for point, value in zip(found, values, strict=True):
            assert point[key] - found[0][key] == pytest.approx(slope * (value - values[0]), abs=0.2)
    assert slope < 0  # up is better
    for point, row in zip(found, counted, strict=True):
        assert point["error"] == pytest.approx(-2 * row.se * slope, abs=0.5)
    left_out = len(rows) - len(counted)
    assert f"{left_out} rows have no count of tokens" in page.run("$('cost-note').textContent")
    page.run("$('filter').value = '003'; $('filter').dispatchEvent(new Event('input'))")
    assert [point["said"].partition(":")[0] for point in points(page) if point["shown"]] == ["lab/model 003"]


def test_a_point_is_a_link_that_the_keyboard_reaches(board: Board, tmp_path: Path, chromium: Chromium) -> None:
    page = chromium.open(site_of(board, mixed(board), tmp_path / "site").as_uri())
    page.run("document.querySelector('#cost a').focus()")
    assert page.run("getComputedStyle(document.activeElement.querySelector('.target')).stroke") != "none"
    name = page.run("document.activeElement.getAttribute('aria-label')").partition(":")[0]
    page.press("Enter")
    page.wait("document.querySelector('h1') && location.pathname.includes('/rows/')")
    assert page.run("document.querySelector('h1').textContent") == name


def test_a_board_without_counts_of_tokens_says_so(board: Board, tmp_path: Path, chromium: Chromium) -> None:
    page = chromium.open(site_of(board, [reported(board, "theirs", 0.4)], tmp_path / "site").as_uri())
    assert points(page) == []
    assert page.run("$('cost-note').textContent").startswith("1 row has no count of tokens")
    assert "tokens" not in page.run("[...$('head').children].map((th) => th.dataset.column)")


@pytest.mark.parametrize("width", [320, 700, 1280])
def test_no_letters_of_the_picture_lie_on_others_or_on_an_axis(
    board: Board, tmp_path: Path, chromium: Chromium, width: int
) -> None:
    for seed, (num_rows, least) in enumerate([(1, 900.0), (2, 1.0), (5, 3000.0), (9, 70_000.0), (40, 400.0)]):
        rows = [
            measured(
                board, f"laboratory/model {number}", share=(1 + number) / (num_rows + 2), tokens=least * 1.3**number
            )
            for number in range(num_rows)
        ]
        page = chromium.open(site_of(board, rows, tmp_path / str(seed)).as_uri(), width=width)
        page.wait("document.querySelector('#cost svg')")
        assert page.run(OVERLAPS) == []
        ticks = page.run("[...document.querySelectorAll('#cost svg > g path.axis')].length - 1")
        assert ticks >= 2


OVERLAPS = """(() => {
  const svg = document.querySelector("#cost svg"), frame = svg.getBoundingClientRect(), found = [];
  const rect = (node, grow = 0) => { const r = node.getBoundingClientRect();
    return { left: r.left - grow, right: r.right + grow, top: r.top - grow, bottom: r.bottom + grow, node }; };
  const texts = [...svg.querySelectorAll("text")].map((node) => rect(node));
  const others = [...svg.querySelectorAll(".axis, .point circle:last-child")].map((node) => rect(node, 0.1));
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const name = ({ node }) => node.textContent || node.outerHTML;
  texts.forEach((text, i) => {
    if (text.left < frame.left - 1 || text.right > frame.right + 1) found.push([name(text), "leaves the picture"]);
    for (const other of [...texts.slice(i + 1), ...others].filter((one) => meet(text, one)))
      found.push([name(text), name(other)]);
  });
  const axis = rect(svg.querySelector(".axis:last-of-type"));
  for (const point of svg.querySelectorAll(".point circle:last-child, .point .error"))
    if (rect(point).bottom > axis.top || rect(point).left < frame.left + 44)
      found.push([point.outerHTML, "on an axis"]);
  return found;
})()"""
