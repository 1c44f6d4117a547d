// The board's page. Foreign texts are set with textContent only; the view lives in the URL's hash.
"use strict";
const boards = window.BOARDS, $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const view = { board: "", sort: "rank", order: "ascending", filter: "", kind: "", a: "", b: "" };
let board, cells = new Map();

const percent = (value) => (value === null ? "–" : (100 * value).toFixed(1));
const estimate = ([score, se]) => `${percent(score)} ± ${percent(se)}`;
const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};
const draw = (tag, attributes, text) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
};

// A bar of mean ± error as a background: 500 drawings would make sorting slow.
function errorBar(cell, [score, se]) {
  const at = (value) => `${100 * Math.min(1, Math.max(0, value))}%`;
  cell.className = "bar";
  for (const [name, value] of [["--low", score - se], ["--at", score], ["--high", score + se]]) cell.style.setProperty(name, at(value));
}

function rowNode(row) {
  const tr = make("tr"), name = make("td", undefined, "text"), link = make("a", row.name), mean = make("td", estimate(row.mean));
  link.href = row.page.split("/").map(encodeURIComponent).join("/");
  name.append(link);
  errorBar(mean, row.mean);
  tr.append(make("td", row.rank_text), name, ...row.tasks.map((task) => make("td", estimate(task))), mean, make("td", row.kind, "text"));
  return tr;
}

const columns = () => ["rank", "model", ...board.tasks, "mean", "from"];
function sortKey(row) {
  if (view.sort === "model") return row.name.toLowerCase();
  if (view.sort === "from") return row.kind;
  if (view.sort === "mean") return row.mean[0];
  const task = board.tasks.indexOf(view.sort);
  return task < 0 ? row.rank[0] + row.rank[1] : row.tasks[task][0];
}

function showTable() {
  const needle = view.filter.toLowerCase(), sign = view.order === "ascending" ? 1 : -1;
  const kept = board.rows.filter((row) => row.name.toLowerCase().includes(needle) && (!view.kind || row.kind === view.kind));
  const keyed = kept.map((row) => [sortKey(row), row]);
  keyed.sort(([a, x], [b, y]) => (a < b ? -sign : a > b ? sign : x.number - y.number));
  $("rows").replaceChildren(...keyed.map(([, row]) => cells.get(row)));
  $("count").textContent = `${kept.length} of ${board.rows.length} rows`;
  for (const th of $("head").children) th.setAttribute("aria-sort", th.dataset.column === view.sort ? view.order : "none");
}

function showHead() {
  $("head").replaceChildren(...columns().map((column) => {
    const th = make("th"), button = make("button", column);
    th.scope = "col";
    th.dataset.column = column;
    if (column === "model" || column === "from") th.className = "text";
    button.type = "button";
    button.addEventListener("click", () => {
      const first = ["rank", "model", "from"].includes(column) ? "ascending" : "descending";
      view.order = view.sort !== column ? first : view.order === "ascending" ? "descending" : "ascending";
      view.sort = column;
      update();
    });
    th.append(button);
    return th;
  }));
}

function chosen(id) {
  return board.rows.find((row) => row.name === view[id]);
}

function showComparison() {
  const a = chosen("a"), b = chosen("b");
  $("differences").replaceChildren();
  $("curves").replaceChildren();
  if (!a || !b) { $("verdict").textContent = "Choose two rows."; return; }
  board.tasks.forEach((task, index) => {
    const tr = make("tr"), th = make("th", task), [x, y] = [a.tasks[index], b.tasks[index]];
    th.scope = "row";
    tr.append(th, make("td", estimate(x)), make("td", estimate(y)), make("td", percent(y[0] - x[0])));
    $("differences").append(tr);
    if (a.curves[task] || b.curves[task]) $("curves").append(curve(task, a.curves[task] || [], b.curves[task] || []));
  });
  if (!$("curves").children.length) $("curves").append(make("p", "Neither row has counts of several samples."));
  const [i, j] = [a.number, b.number].sort((x, y) => x - y), p = board.p[`${i}-${j}`];
  const how = a.kind === "measured" && b.kind === "measured" ? "question by question where both answered the same" : "from two error bars, taken as independent";
  const said = a === b ? "the same row" : p === undefined || p === null ? "no p-value: the board has too many rows" : `p ${p < 0.0001 ? "< 0.0001" : "= " + p.toPrecision(2)} (before Holm's correction), ${how}`;
  $("verdict").textContent = `B − A in the mean: ${percent(b.mean[0] - a.mean[0])} points; ${said}.`;
}

function curve(task, a, b) {
  const longest = Math.max(a.length, b.length), x = (k) => 40 + (300 * Math.log(k)) / Math.log(longest), y = (p) => 160 - 140 * p;
  const label = `pass@k of ${task}: ` + [["A", a], ["B", b]].filter(([, values]) => values.length)
    .map(([name, values]) => `${name} from ${percent(values[0])} at k = 1 to ${percent(values.at(-1))} at k = ${values.length}`).join("; ");
  const svg = draw("svg", { viewBox: "0 0 360 190", role: "img", "aria-label": label });
  svg.append(draw("text", { x: 40, y: 12 }, `${task} (A solid, B dashed)`), draw("path", { class: "axis", d: "M40 20V160H345", fill: "none" }));
  for (const p of [0, 0.5, 1]) svg.append(draw("text", { x: 34, y: y(p) + 4, "text-anchor": "end" }, 100 * p));
  for (let k = 1; k <= longest; k *= 2) svg.append(draw("text", { x: x(k), y: 176, "text-anchor": "middle" }, k));
  for (const [name, values] of [["a", a], ["b", b]])
    svg.append(draw("polyline", { class: `line line-${name}`, points: values.map((p, index) => `${x(index + 1)},${y(p)}`).join(" ") }));
  return svg;
}

function options(select, values, empty) {
  select.replaceChildren(...(empty ? [new Option("–", "")] : []), ...values.map((value) => new Option(value, value)));
}

function showBoard() {
  board = boards.find((one) => one.name === view.board) || boards[0];
  view.board = board.name;
  document.title = $("title").textContent = board.title;
  $("notes").textContent = board.notes;
  cells = new Map(board.rows.map((row) => [row, rowNode(row)]));
  showHead();
  for (const id of ["a", "b"]) options($(id), board.rows.map((row) => row.name), true);
}

function readHash() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(view)) view[name] = asked.get(name) ?? { sort: "rank", order: "ascending" }[name] ?? "";
  if (view.order !== "descending") view.order = "ascending";
  showBoard();
  if (!columns().includes(view.sort)) view.sort = "rank";
  show();
}

function show() {
  for (const id of ["board", "filter", "kind", "a", "b"]) if ($(id).value !== view[id]) $(id).value = view[id];
  showTable();
  showComparison();
}

function update() {
  const kept = Object.entries(view).filter(([, value]) => value !== "");
  history.replaceState(null, "", "#" + new URLSearchParams(kept));
  show();
}

options($("board"), boards.map((one) => one.name), false);
for (const id of ["filter", "kind", "a", "b"]) $(id).addEventListener("input", () => { view[id] = $(id).value; update(); });
$("board").addEventListener("input", () => { location.hash = new URLSearchParams({ board: $("board").value }); });
$("controls").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", readHash);
readHash();
