"""Boards: only what is comparable gets on, ties are ties, and the shipped page is what its rows make."""

import itertools
import json
import math
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import make_board, measured
from typer.testing import CliRunner

from tbrm_bench.cli.app import app
from tbrm_bench.errors import UserError
from tbrm_bench.leaderboard.add import add_row, row_of_run
from tbrm_bench.leaderboard.board import Board, load_board
from tbrm_bench.leaderboard.page import page, table
from tbrm_bench.leaderboard.ranks import pair_p_values, rank_ranges
from tbrm_bench.leaderboard.rows import BoardRow, read_row, read_rows, slug
from tbrm_bench.metrics.paired import cluster_shares, macro_difference, paired_difference
from tbrm_bench.records import Grade, MacroScore, Sample, SampleKey, Status, TaskScore
from tbrm_bench.resources import data_dir
from tbrm_bench.run.score import score_run
from tbrm_bench.store import RunStore
from tbrm_bench.tasks.problems import load_problems
from tbrm_bench.tasks.spec import load_task

K = 2
PROBLEMS = load_problems(load_task("arithmetic"))
TOML = """
title = "Toy"
notes = "For tests."
tasks = ["arithmetic"]
agree = ["tasks.*.rows", "tasks.*.max_tokens", "engine.name"]
grader = "tbrm-"
[min_samples]
arithmetic = 2
"""


@pytest.fixture
def board(tmp_path: Path) -> Board:
    (tmp_path / "toy.toml").write_text(TOML)
    return load_board("toy", tmp_path)


def make_run(
    run_dir: Path,
    share: float,
    *,
    k: int = K,
    num_problems: int = len(PROBLEMS),
    max_tokens: int = 9,
    grader: str = "tbrm-1",
    seed: int = 0,
    missing: int = 0,
) -> Path:
    draw = random.Random(seed)
    lock = {"tasks": {"arithmetic": {"rows": "r", "max_tokens": max_tokens}}, "engine": {"name": "vllm"}, "seed": seed}
    with RunStore.open_writer(run_dir, lock=lock, about={"model": f"<b>{run_dir.name}</b>"}) as store:
        store.put_problems(PROBLEMS[:num_problems], {"arithmetic": k})
        keys = [SampleKey(*problem.key, i) for problem in PROBLEMS[:num_problems] for i in range(k)]
        keys = keys[: len(keys) - missing]
        store.add_samples(Sample(key, 1, "", (1,), "stop", 1) for key in keys)
        right, wrong = Grade(Status.CORRECT, "1", "r"), Grade(Status.WRONG, "1", "r")
        store.add_grades(((key, right if draw.random() < share else wrong) for key in keys), grader)
    return run_dir


def add(board: Board, run_dir: Path) -> Path:
    return add_row(board, row_of_run(board, run_dir))


def test_a_row_holds_what_the_run_scored(board: Board, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run", 0.4)
    add(board, run_dir)
    (row,) = read_rows(board)
    with RunStore.open_reader(run_dir) as store:
        correct = sum(one.status is Status.CORRECT for one in store.graded("arithmetic", "tbrm-1"))
    assert row.score == pytest.approx(correct / (K * len(PROBLEMS)))
    assert (row.tasks["arithmetic"].num_tokens, row.cost) == (K * len(PROBLEMS), 1.0)  # one token a sample
    assert "text" not in (board.rows_dir / row.file).read_text()


def test_a_row_states_the_scores_of_its_run_and_no_others(board: Board, tmp_path: Path) -> None:
    """The numbers are those of results.json; changed by hand, the file is refused."""
    run_dir = make_run(tmp_path / "run", 0.4)
    content = row_of_run(board, run_dir)
    with RunStore.open_reader(run_dir) as store:
        result = score_run(store, grader="tbrm-1", vote_classes=lambda rows: [[0] * len(row) for row in rows])
    pairs: list[tuple[Any, TaskScore | MacroScore]] = [
        (content["scores"]["tasks"]["arithmetic"], result.tasks[0]),
        (content["scores"]["mean"], result.macro),
    ]
    for stated, scored in pairs:
        assert [stated["score"], stated["se"], *stated["ci"]] == pytest.approx(
            [scored.avg, scored.se, scored.ci_low, scored.ci_high], abs=1e-8
        )
    assert "scores" not in read_row(board, content, "r.json").about
    content["scores"]["mean"]["score"] += 0.01
    with pytest.raises(UserError, match=r"r\.json states scores that its counts do not make"):
        read_row(board, content, "r.json")
    assert read_row(replace(board, metric="pass@2"), content, "r.json").score > 0.4  # by another metric: not checked


def test_a_row_without_a_count_of_tokens_has_no_cost(board: Board, tmp_path: Path) -> None:
    content = row_of_run(board, make_run(tmp_path / "run", 0.4))
    del content["tasks"]["arithmetic"]["num_tokens"]
    assert read_row(board, content, "old.json").cost is None
    for wrong in (-1, 1.5, "many", True):
        content["tasks"]["arithmetic"]["num_tokens"] = wrong
        with pytest.raises(UserError, match=r"tasks\.arithmetic\.num_tokens"):
            read_row(board, content, "old.json")


def test_rows_by_two_versions_of_a_grader_are_not_comparable(board: Board, tmp_path: Path) -> None:
    add(board, make_run(tmp_path / "one", 0.4))
    with pytest.raises(UserError, match=r'grader is "tbrm-2", there "tbrm-1"'):
        add(board, make_run(tmp_path / "two", 0.4, grader="tbrm-2"))


def test_a_clear_winner_ranks_first_and_equals_share_their_ranks(board: Board, tmp_path: Path) -> None:
    for name, share, seed in (("best", 0.8, 1), ("same-1", 0.4, 2), ("same-2", 0.4, 3), ("last", 0.1, 4)):
        add(board, make_run(tmp_path / name, share, seed=seed))
    rows = read_rows(board)
    ranks = dict(zip((slug(row.name) for row in rows), rank_ranges(rows), strict=True))
    assert ranks == {"b-best-b": (1, 1), "b-same-1-b": (2, 3), "b-same-2-b": (2, 3), "b-last-b": (4, 4)}


def test_p_values_of_pairs_are_those_of_a_comparison(tmp_path: Path) -> None:
    """In the range where the sign-flip test is asked they are its own, draw for draw; with many rows they are near."""
    board = make_board(tmp_path)
    rows = [measured(board, f"m{number}", share=0.4 + number / 100) for number in range(12)]
    several = pair_p_values([*rows, *(replace(rows[0], name=f"copy {n}") for n in range(60))])
    exact, num_asked = pair_p_values(rows), 0
    for i, j in itertools.combinations(range(len(rows)), 2):
        deltas, shares = [], []
        for one, two in zip(rows[i].tasks.values(), rows[j].tasks.values(), strict=True):
            scores = list(one.scores.values()), list(two.scores.values())
            clusters = list(one.cluster.values())
            deltas.append(paired_difference(*scores, clusters))
            shares.append(cluster_shares(np.subtract(scores[1], scores[0]), clusters))
        p = macro_difference(deltas, shares).p_value
        asked = 1e-5 < several[i, j] < 0.1
        num_asked += asked
        assert exact[i, j] == exact[j, i] == pytest.approx(p, abs=1e-12 if asked else 0.05)
        assert several[i, j] == pytest.approx(p, abs=0.05)
    assert num_asked
    assert np.allclose(np.diag(exact), 1)


def test_500_rows_are_ranked_at_once(tmp_path: Path) -> None:
    board = make_board(tmp_path)
    rows = [measured(board, f"m{number}", share=1 - number / 500) for number in range(500)]
    start = time.process_time()
    ranks = rank_ranges(rows)
    assert time.process_time() - start < 10
    assert ranks[0][0] == 1 < ranks[-1][0] <= ranks[-1][1] == 500


def reported(board: Board, name: str, score: float) -> BoardRow:
    content = {
        "schema": 1,
        "name": name,
        "kind": "reported",
        "source": {"title": "t", "url": "https://example.org"},
        "tasks": {"arithmetic": {"score": score}},
    }
    return read_row(board, content, "r.json")


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_ranges_hold_a_true_order_and_turn_with_it(scores: list[float]) -> None:
    """Whatever the rows: every range lies in 1 .. N, and the row with the best mean may be first."""
    board = load_board("tbrm6")
    contents = [
        {
            "schema": 1,
            "name": f"m{i}",
            "kind": "reported",
            "source": {"url": "https://e.org"},
            "tasks": {task: {"score": score} for task in board.tasks},
        }
        for i, score in enumerate(scores)
    ]
    rows = [read_row(board, content, "r") for content in contents]
    ranks = rank_ranges(rows)
    assert all(1 <= best <= worst <= len(rows) for best, worst in ranks)
    assert ranks[max(range(len(rows)), key=lambda i: rows[i].score)][0] == 1
    assert list(reversed(rank_ranges(rows[::-1]))) == ranks


def test_errors_of_reported_rows_are_upper_bounds(board: Board, tmp_path: Path) -> None:
    add(board, make_run(tmp_path / "run", 0.3, k=8))
    (measured,) = read_rows(board)
    assert measured.tasks["arithmetic"].num_problems == len(PROBLEMS)
    row = reported(board, "theirs", measured.score)
    assert row.se == pytest.approx(math.sqrt(row.score * (1 - row.score) / len(PROBLEMS)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 1}, "asks for 2"),
        ({"num_problems": 7}, "run it without --limit"),
        ({"grader": "math-verify"}, "grade it"),
        ({"missing": 3}, "finish the run"),
    ],
)
def test_a_run_that_breaks_a_rule_is_refused_by_the_rule(
    board: Board, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        add(board, make_run(tmp_path / "run", 0.4, **change))
    assert read_rows(board) == []


def test_a_run_made_otherwise_is_refused_by_the_field_and_the_seed_is_free(board: Board, tmp_path: Path) -> None:
    add(board, make_run(tmp_path / "first", 0.4))
    with pytest.raises(UserError, match=r"tasks\.arithmetic\.max_tokens is 10, there 9"):
        add(board, make_run(tmp_path / "other", 0.4, max_tokens=10))
    add(board, make_run(tmp_path / "seed", 0.4, seed=5))
    with pytest.raises(UserError, match="already"):
        add(board, make_run(tmp_path / "again" / "seed", 0.4, seed=6))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema 2"),
        ({"kind": "guessed"}, "kind"),
        ({"name": 3}, "name"),
        ({"tasks": {"math500": {"score": 1}}}, "ranks arithmetic"),
        ({"source": {}}, "source.url"),
        ({"source": "https://e.org"}, "source: 'https://e.org' is not a table"),
        ({"source": {"url": 3}}, "source.url: 3 is not a string"),
        ({"name": "\ud800"}, "not text that UTF-8 can hold"),
        ({"kind": "measured", "tasks": {"arithmetic": {"k": 1, "correct": {}, "cluster": {}}}}, "counts of arithmetic"),
        ({"tasks": {"arithmetic": {"score": 1.5}}}, "score is 1.5; 0 or more and at most 1"),
        ({"tasks": {"arithmetic": {}}}, "score"),
        ({"tasks": {"arithmetic": {"score": "high"}}}, "high"),
    ],
)
def test_a_row_that_cannot_be_read_is_one_line(board: Board, change: dict[str, Any], said: str) -> None:
    content = {
        "schema": 1,
        "name": "r",
        "kind": "reported",
        "source": {"url": "https://e.org"},
        "tasks": {"arithmetic": {"score": 0.5}},
    }
    with pytest.raises(UserError, match=said):
        read_row(board, content | change, "r.json")
    board.rows_dir.mkdir(parents=True)
    (board.rows_dir / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken\.json"):
        read_rows(board)


def test_a_field_that_no_lock_has_is_a_mistake_of_the_board(board: Board, tmp_path: Path) -> None:
    """Else every row would agree in it."""
    wrong = replace(board, agree=("tasks.*.max_token",))
    said = r"rows agree in tasks\.arithmetic\.max_token, .* did you mean 'tasks\.arithmetic\.max_tokens'"
    with pytest.raises(UserError, match=said):
        add(wrong, make_run(tmp_path / "run", 0.4))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('metric = "avg@kk"', r"toy\.toml: metric is 'avg@kk', not avg@k or pass@N; did you mean 'avg@k'\?"),
        ('metric = "pass@0"', "metric is 'pass@0'"),
        ('metric = "pass@3"', "pass@3 needs 3 samples per problem, min_samples of arithmetic is 2"),
        ("metric = 3", "metric: 3 is not a string"),
        ('order = "men"', r"order is 'men', .* did you mean 'mean'\?"),
        ('order = "arithmetik"', r"did you mean 'arithmetic'\?"),
        ('odrer = "mean"', "no key 'odrer'; did you mean 'order'"),
    ],
)
def test_a_board_with_a_mistake_is_one_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "toy.toml").write_text(line + TOML)
    with pytest.raises(UserError, match=said) as caught:
        load_board("toy", tmp_path)
    assert "\n" not in str(caught.value)


def test_the_metric_decides_what_a_row_scores(board: Board, tmp_path: Path) -> None:
    """Two samples a problem: pass@2 is the share of problems with a right one, and avg@k = pass@1 the mean share."""
    add(board, make_run(tmp_path / "run", 0.4))
    (row,) = read_rows(board)
    counts = row.tasks["arithmetic"].correct.values()
    for metric, score in [
        ("pass@1", sum(counts) / (K * len(counts))),
        ("pass@2", sum(count > 0 for count in counts) / len(counts)),
    ]:
        (other,) = read_rows(replace(board, metric=metric))
        assert other.score == pytest.approx(score)
        assert f"Metric: {metric}" in page([(replace(board, metric=metric), [other])])
    assert row.score == pytest.approx(sum(counts) / (K * len(counts)))


def test_the_order_decides_who_is_first() -> None:
    board = load_board("tbrm6")
    by_mean, by_task = read_rows(board), read_rows(replace(board, order="aime24"))
    assert by_mean[0].name != by_task[0].name == "Qwen2.5-Math-7B + GRPO (re-run)"
    scores = [row.tasks["aime24"].score for row in by_task]
    assert scores == sorted(scores, reverse=True)
    alone = [replace(row, tasks={"aime24": row.tasks["aime24"]}) for row in by_task]
    assert rank_ranges(by_task, order="aime24") == rank_ranges(alone) != rank_ranges(by_task)


def test_names_are_shown_and_never_executed(board: Board) -> None:
    row = reported(board, "<script>alert(1)</script>|`x`[y](z)\n# w", 0.5)
    shown = table(board, [row])
    for piece in ("<", "|`", "[y]", "\n#"):
        assert piece not in shown.split("\n", 2)[2]


def test_the_shipped_page_is_what_its_rows_make() -> None:
    folder = data_dir("leaderboards")
    boards = [load_board(file.stem, folder) for file in sorted(folder.glob("*.toml"))]
    assert boards
    assert (folder / "README.md").read_text() == page([(board, read_rows(board)) for board in boards])


def test_the_command(board: Board, tmp_path: Path) -> None:
    def tbench(*words: str) -> Any:
        return CliRunner().invoke(app, ["board", *words, "--dir", str(board.folder)], env={"COLUMNS": "160"})

    for name, share in (("a", 0.7), ("b", 0.2)):
        assert tbench("add", str(make_run(tmp_path / name, share)), "--board", "toy", "--name", name).exit_code == 0
    shown = json.loads(tbench("show", "--board", "toy", "--json").stdout)["rows"]
    assert [(row["name"], row["rank"]) for row in shown] == [("a", [1, 1]), ("b", [2, 2])]
    assert "Toy" in tbench("show", "--board", "toy").stdout
    assert tbench("render", "--check").exit_code == 1
    assert tbench("render").exit_code == 0
    assert tbench("render", "--check").exit_code == 0


def test_unknown_boards_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'tbrm6'"):
        load_board("tbrm5")
    outcome = CliRunner().invoke(app, ["board", "render", "--dir", str(tmp_path)])
    assert isinstance(outcome.exception, UserError)


def test_slugs_are_file_names() -> None:
    for one, two in itertools.combinations(("A b/c", "..", "<x>", "Qwen2.5 + TBRM n=4"), 2):
        assert slug(one) != slug(two)
        assert "/" not in slug(one)
        assert not slug(one).startswith(".")
