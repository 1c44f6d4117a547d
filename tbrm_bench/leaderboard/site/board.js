// The view: which board, how sorted and filtered, which two rows are compared. It lives in the URL's hash.
"use strict";
const boards = window.BOARDS;
const START = { board: "", sort: "rank", order: "ascending", filter: "", kind: "", a: "", b: "" };
const CONTROLS = ["filter", "kind", "a", "b"];
const view = { ...START };
let board = null;

function sortBy(column) {
  const first = TEXT_COLUMNS.includes(column) || column === "tokens" ? "ascending" : "descending";
  view.order = view.sort !== column ? first : view.order === "ascending" ? "descending" : "ascending";
  view.sort = column;
  update();
}

function options(select, values) {
  select.replaceChildren(...values.map((value) => new Option(value, value)));
}

function showBoard() {
  board = boards.find((one) => one.name === view.board) || boards[0];
  view.board = board.name;
  document.title = $("title").textContent = board.title;
  $("notes").textContent = board.notes;
  $("metric").textContent = `${board.metric}, in percent, ± one standard error; ranked by ${board.order === "mean" ? "the mean over the tasks" : board.order}.`;
  buildTable(board, sortBy);
  for (const id of ["a", "b"]) options($(id), board.rows.map((row) => row.name));
}

// The rows A and B; where none is named, the best row that is not the other one.
function chosen() {
  const [a, b] = ["a", "b"].map((id) => board.rows.find((row) => row.name === view[id]));
  const one = a ?? board.rows.find((row) => row !== b) ?? b;
  return [one, b ?? board.rows.find((row) => row !== one) ?? one];
}

function show() {
  const kept = keptRows(view), [a, b] = chosen();
  showTable(view, kept);
  showCost(board, kept);
  if (a) showComparison(board, a, b);
  const values = { board: view.board, filter: view.filter, kind: view.kind, a: a?.name, b: b?.name };
  for (const [id, value] of Object.entries(values)) if ($(id).value !== value) $(id).value = value ?? "";
}

// A link that was made up, or cut off, is a view all the same.
function readHash() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(view)) view[name] = asked.get(name) ?? START[name];
  if (view.order !== "descending") view.order = "ascending";
  if (!["", "measured", "reported"].includes(view.kind)) view.kind = "";
  showBoard();
  if (!columns(board).includes(view.sort)) view.sort = "rank";
  show();
}

function update() {
  const changed = Object.entries(view).filter(([name, value]) => value !== START[name]);
  history.replaceState(null, "", "#" + new URLSearchParams(changed));
  show();
}

options($("board"), boards.map((one) => one.name));
for (const id of CONTROLS) $(id).addEventListener("input", () => { view[id] = $(id).value; update(); });
$("board").addEventListener("input", () => { location.hash = new URLSearchParams({ board: $("board").value }); });
$("controls").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", readHash);
readHash();
new ResizeObserver(([entry]) => {
  costWidth = Math.round(entry.contentRect.width);
  showCost(board, keptRows(view));
}).observe($("cost"));
