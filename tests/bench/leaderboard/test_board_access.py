"""The site for everybody: keyboard, names of controls, contrast in light and dark, narrow screens (WCAG 2.2, AA)."""

from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, Page
from sites import make_board, measured, mixed, site_of

from tbrm_bench.leaderboard.board import Board

LONG = "laboratory/a-model-whose-name-has-no-place-to-break" + "x" * 80


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return make_board(tmp_path, title="Toy " + LONG)


@pytest.fixture
def index(board: Board, tmp_path: Path) -> Path:
    lock = {"tasks": {"aime24": {"rows": "ab" * 80}}}
    samples = {"repo": "owner/results", "commit": "0a" * 20, "run": "step-200"}
    rows = [measured(board, LONG, share=0.7, tokens=500, lock=lock, samples=samples), *mixed(board, 6)]
    return site_of(board, rows, tmp_path / "site")


def opened(chromium: Chromium, file: Path, **look: Any) -> Page:
    page = chromium.open(file.as_uri(), **look)
    if file.name == "index.html":
        page.wait("document.querySelectorAll('#differences tr').length")
    return page


def pages(index: Path) -> list[Path]:
    """The board, the page of a measured row with samples, the page of a reported one."""
    measured_page = next(file for file in index.parent.glob("rows/toy/*.html") if "owner/results" in file.read_text())
    return [index, measured_page, index.parent / "rows" / "toy" / "paper 001.html"]


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(index: Path, chromium: Chromium) -> None:
    page = opened(chromium, index)
    wanted = page.run(
        """[...document.querySelectorAll("a, button, input, select, [tabindex]")]
           .map((node, number) => { node.dataset.number = number; return number; })"""
    )
    assert len(wanted) > 20
    reached = []
    for _ in wanted:
        page.press("Tab")
        reached.append(page.run("+document.activeElement.dataset.number"))
        assert page.run(HAS_FOCUS_RING), page.run("document.activeElement.outerHTML")
        assert page.run(IS_IN_SIGHT), page.run("document.activeElement.outerHTML")
    assert reached == wanted
    page.press("Tab", shift=True)
    assert page.run("+document.activeElement.dataset.number") == wanted[-2]


HAS_FOCUS_RING = """(() => {
  const node = document.activeElement, style = getComputedStyle(node), target = node.querySelector(".target");
  const [kind, width] = target ? [getComputedStyle(target).stroke, getComputedStyle(target).strokeWidth]
    : [style.outlineStyle, style.outlineWidth];
  const ring = kind !== "none" && parseFloat(width) >= 2;
  return node.matches(":focus-visible") && ring;
})()"""
IS_IN_SIGHT = """(() => {
  const r = document.activeElement.getBoundingClientRect();
  return r.width > 0 && r.bottom > 0 && r.top < innerHeight && r.right > 0 && r.left < innerWidth;
})()"""


def test_a_header_sorts_by_keyboard_and_says_so(index: Path, chromium: Chromium) -> None:
    page = opened(chromium, index)
    sorts = "Object.fromEntries([...$('head').children].map((th) => [th.dataset.column, th.getAttribute('aria-sort')]))"
    assert page.run(f"Object.entries({sorts}).filter(([, sort]) => sort !== 'none')") == [["rank", "ascending"]]
    page.run("document.querySelector('th[data-column=mean] button').focus()")
    for key, expected in (("Enter", "descending"), (" ", "ascending"), ("Enter", "descending")):
        page.press(key)
        found = page.run(sorts)
        assert found.pop("mean") == expected
        assert set(found.values()) == {"none"}
        means = page.run(
            "[...document.querySelectorAll('#rows td:nth-child(3)')].map((td) => parseFloat(td.textContent))"
        )
        assert means == sorted(means, reverse=expected == "descending")
        assert page.run("document.activeElement.parentElement.dataset.column") == "mean"


def test_every_control_has_a_name_in_the_accessibility_tree(index: Path, chromium: Chromium) -> None:
    for file in pages(index):
        page = opened(chromium, file)
        page.call("Accessibility.enable")
        nodes = [node for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        found: dict[str, int] = {}
        for node in nodes:
            role, name = node["role"]["value"], node.get("name", {}).get("value", "")
            focusable = any(one["name"] == "focusable" and one["value"]["value"] for one in node.get("properties", []))
            if focusable or role in ("image", "region", "columnheader", "rowheader"):
                assert name.strip(), (role, node)
                found[role] = found.get(role, 0) + 1
        headings = [node["name"]["value"] for node in nodes if node["role"]["value"] == "heading"]
        assert headings
        if file == index:
            assert found["combobox"] == 4
            assert found["searchbox"] == 1
            assert {"Table of rows", "Differences by task"} <= {
                node["name"]["value"] for node in nodes if "name" in node
            }
            labels = "[...document.querySelectorAll('input, select')].map((node) => node.labels.length)"
            assert page.run(labels) == [1] * 5


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(index: Path, chromium: Chromium, is_dark: bool) -> None:
    for file in pages(index):
        page = opened(chromium, file, is_dark=is_dark)
        pairs = page.run(PAIRS)
        assert len(pairs) >= 3
        paper = next(pair["paper"] for pair in pairs if pair["text"])
        assert (luminance(paper) < 0.2) == is_dark
        for pair in pairs:
            least = 4.5 if pair["text"] else 3.0  # 1.4.3 for text, 1.4.11 for lines and points that carry meaning
            assert contrast(pair["ink"], pair["paper"]) >= least, pair


PAIRS = """(() => {
  const parse = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const isClear = (colour) => colour.length === 4 && colour[3] === 0;
  function behind(node) {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (!isClear(colour)) return colour;
    }
    return [255, 255, 255];
  }
  const found = new Map();
  function keep(colour, node, text) {
    const [ink, paper] = [parse(colour), behind(node)];
    found.set([ink, paper, text].join("/"), { ink, paper, text, where: node.outerHTML.slice(0, 200) });
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.getClientRects().length || node.closest("noscript, title")) continue;
    keep(getComputedStyle(node)[node.ownerSVGElement ? "fill" : "color"], node, true);
  }
  const drawn = [["input, select", "color", true], ["input, select", "borderTopColor", false],
    [".line, .axis", "stroke", false], [".point circle:last-child", "fill", false]];
  for (const [which, property, text] of drawn)
    for (const node of document.querySelectorAll(which)) keep(getComputedStyle(node)[property], node, text);
  return [...found.values()];
})()"""


def contrast(one: list[float], two: list[float]) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: list[float]) -> float:
    """Relative luminance as WCAG defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_no_page_is_wider_than_the_screen(index: Path, chromium: Chromium, width: int) -> None:
    """What needs more room scrolls in a region of its own, which the keyboard reaches."""
    for file in pages(index):
        page = opened(chromium, file, width=width)
        assert page.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
        wide = page.run(
            """[...document.querySelectorAll("main *")].filter((node) => !node.closest(".scroll > *, svg")
               && node.getBoundingClientRect().right > innerWidth).map((node) => node.outerHTML.slice(0, 200))"""
        )
        assert wide == []
        assert page.run("[...document.querySelectorAll('.scroll')].every((node) => node.tabIndex === 0)")


def test_a_larger_letter_still_fits(index: Path, chromium: Chromium) -> None:
    """Text at twice its size (1.4.4) on a screen of 640 pixels."""
    page = opened(chromium, index, width=640)
    page.run("document.documentElement.style.fontSize = '200%'; document.body.style.fontSize = '2rem'")
    assert page.run("document.documentElement.scrollWidth") == 640
