"""The site's files: foreign names stay text, every link leads to a file, nothing is asked of a network."""

import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from chromium import Chromium
from sites import EVIL, make_board, measured, mixed, reported, site_of

from tbrm_bench.errors import UserError
from tbrm_bench.leaderboard.board import Board
from tbrm_bench.leaderboard.row_page import row_page
from tbrm_bench.leaderboard.rows import read_row
from tbrm_bench.leaderboard.website import pass_curve, script_json, write_site

NAMES = "[...document.querySelectorAll('#rows a')]"


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return make_board(tmp_path, title=EVIL)


def test_the_curve_is_the_unbiased_one(tmp_path: Path) -> None:
    """c = 1, 4, 0 of n = 4: pass@2 = (1 - C(3,2)/C(4,2) + 1 + 0) / 3 = 1/2."""
    board = Board("one", tmp_path, "t", "n", ("aime24",), (), "tbrm-")
    counts = {"a": 1, "b": 4, "c": 0}
    task = {"k": 4, "correct": counts, "cluster": {name: name for name in counts}}
    row = read_row(board, {"schema": 1, "name": "m", "kind": "measured", "tasks": {"aime24": task}}, "m.json")
    assert pass_curve(row, "aime24") == pytest.approx([5 / 12, 1 / 2, 7 / 12, 2 / 3], abs=1e-6)


def test_foreign_texts_never_become_tags(board: Board, tmp_path: Path) -> None:
    evil = measured(board, EVIL, model=EVIL, lock={"evil": EVIL}, samples={"repo": EVIL, "commit": EVIL, "run": EVIL})
    folder = site_of(board, [evil, *mixed(board)], tmp_path / "site").parent
    for script in (folder / "data.js", *folder.glob("rows/toy/*.js")):
        assert "<" not in script.read_text()
    assert json.loads(script_json(EVIL)) == EVIL
    page = row_page(board, evil, (1, 1))
    assert "<img" not in page
    assert "<script" not in page
    assert not re.search(r'href="(?!https://|\.\./)', page)
    for file in folder.rglob("*.*"):
        foreign = re.sub(r'href="https://(example\.org|huggingface\.co)/', "", file.read_text())
        assert not re.search(r"(src|href)=\"(https?:)?//", foreign)


def test_html_in_a_name_is_shown_and_not_executed(board: Board, tmp_path: Path, chromium: Chromium) -> None:
    evil = measured(board, EVIL, share=1.0, model=EVIL, lock={"evil": EVIL}, source={"url": "javascript:alert(1)"})
    index = site_of(board, [evil, *mixed(board)[:5]], tmp_path / "site")
    page = chromium.open(index.as_uri())
    page.wait("document.querySelectorAll('#differences tr').length === 4")
    title, num_images, names = page.run(f"[document.title, document.images.length, {NAMES}.map((a) => a.textContent)]")
    assert (title.split(), num_images, names.count(EVIL)) == (EVIL.split(), 0, 1)
    assert page.run("[...$('b').options].map((option) => option.text)").count(EVIL) == 1
    assert page.run("document.querySelector('#cost a').getAttribute('aria-label')").startswith(EVIL)
    page.go(page.run(f"{NAMES}.map((a) => a.href)")[names.index(EVIL)])
    assert page.run("[document.querySelector('h1').textContent, document.images.length]") == [EVIL, 0]
    assert page.run("[...document.links].filter((a) => a.protocol === 'javascript:').length") == 0
    assert page.complaints == []


def test_every_link_of_the_page_leads_to_a_file(board: Board, tmp_path: Path, chromium: Chromium) -> None:
    rows = [*mixed(board), reported(board, "odd", 0.9, file="a b#c%d?e.json")]
    index = site_of(board, rows, tmp_path / "site")
    page = chromium.open(index.as_uri())
    links = page.run("[...document.querySelectorAll('#rows a')].map((a) => a.href)")
    assert len(links) == len(rows)
    for link in links:
        page.go(link)
        assert page.run("document.querySelectorAll('h1').length") == 1
        back = page.run("document.querySelector('main a').href")
        page.go(back)
        assert page.run("document.querySelectorAll('#rows tr').length") == len(rows)
    assert page.complaints == []


def test_a_web_server_gives_the_same_page(board: Board, tmp_path: Path, chromium: Chromium) -> None:
    """Also below a path, and in a frame of another site, as a static Space is shown."""
    index = site_of(board, [measured(board, name, share=0.5) for name in ("one", "two")], tmp_path / "www" / "site")
    (tmp_path / "www" / "space.html").write_text('<title>Space</title><iframe src="site/index.html"></iframe>')
    shown = (
        "[...document.querySelectorAll('#rows tr, #differences tr, #curves svg, #cost a')].map((x) => x.textContent)"
    )
    page = chromium.open(index.as_uri())
    page.wait("document.querySelectorAll('#differences tr').length")
    from_disk = page.run(shown)
    handler = partial(QuietHandler, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        page = chromium.open(f"http://127.0.0.1:{server.server_port}/site/")
        page.wait("document.querySelectorAll('#differences tr').length")
        assert page.run(shown) == from_disk
        assert page.complaints == []
        page = chromium.open(f"http://127.0.0.1:{server.server_port}/space.html")
        page.wait("document.querySelector('iframe').contentDocument.querySelectorAll('#differences tr').length")
        assert page.complaints == []
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder, has no icon, and says nothing of it."""

    def do_GET(self) -> None:
        if self.path == "/favicon.ico":  # what a browser asks for by itself
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *args: object) -> None:
        """Nothing."""


def test_a_space_is_told_that_the_folder_is_static(board: Board, tmp_path: Path) -> None:
    front = (site_of(board, [], tmp_path / "site").parent / "README.md").read_text().split("---")[1]
    assert yaml.safe_load(front) == {"title": "Leaderboards", "sdk": "static"}


def test_a_folder_of_another_kind_is_refused(board: Board, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; give --site a folder"):
        write_site([(board, [])], tmp_path / "file")


def test_an_empty_board_is_a_page(board: Board, tmp_path: Path, chromium: Chromium) -> None:
    page = chromium.open(site_of(board, [], tmp_path / "site").as_uri())
    assert page.run("$('count').textContent") == "0 of 0 rows"
    assert page.complaints == []
    page = chromium.open(site_of(board, [reported(board, "alone", 0.5)], tmp_path / "one").as_uri())
    page.wait("$('verdict').textContent === 'A and B are the same row.'")
    assert page.complaints == []
