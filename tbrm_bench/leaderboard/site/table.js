// The table of a board's rows: built once, then sorted and filtered by moving the same nodes.
"use strict";
const table = { board: null, nodes: new Map(), drawn: 0, reach: [0, 1] };
// So many rows are put in at once, which is more than a screen holds; the rest follows when these are painted.
const FIRST_ROWS = 60;
const TEXT_COLUMNS = ["rank", "model", "from"];

function columns(board) {
  const tokens = board.rows.some((row) => isNumber(row.cost)) ? ["tokens"] : [];
  return ["rank", "model", "mean", ...board.tasks, ...tokens, "from"];
}

function columnValue(board, row, column) {
  if (column === "rank") return row.rank[0] + row.rank[1];
  if (column === "model") return row.name.toLowerCase();
  if (column === "from") return row.kind;
  const value = { mean: row.mean[0], tokens: row.cost }[column] ?? row.tasks[board.tasks.indexOf(column)]?.[0];
  return isNumber(value) ? value : -Infinity;
}

function rowNode(board, row) {
  const tr = make("tr"), name = make("td", undefined, "text"), link = make("a", row.name), [mean, se] = row.mean;
  link.href = address(row);
  name.append(link);
  const meanCell = errorBar(estimateCell(row.mean), [mean - se, mean, mean + se], table.reach);
  tr.append(make("td", row.rank_text, "rank"), name, meanCell, ...row.tasks.map(estimateCell));
  if (columns(board).includes("tokens")) tr.append(make("td", whole(row.cost)));
  const from = make("td", undefined, "from");
  from.append(make("span", row.kind, `kind ${row.kind}`));
  tr.append(from);
  return tr;
}

// The widths do not depend on what is in the cells, else the browser reads all of them for each sorting; a long name of a
// task makes its column wider.
function columnNode(column) {
  const isTask = ![...TEXT_COLUMNS, "mean", "tokens"].includes(column), col = make("col", undefined, `col-${isTask ? "task" : column}`);
  const longest = Math.max(...column.split(/(?<=_)/).map((part) => part.length));
  if (isTask && longest > 10) col.style.width = `${0.53 * longest + 0.9}rem`;
  return col;
}

function buildTable(board, onSort) {
  const means = board.rows.map((row) => row.mean).filter(([mean]) => isNumber(mean));
  table.board = board;
  if (means.length) table.reach = [Math.min(...means.map(([mean, se]) => mean - se)), Math.max(...means.map(([mean, se]) => mean + se))];
  table.nodes = new Map(board.rows.map((row) => [row, rowNode(board, row)]));
  $("columns").replaceChildren(...columns(board).map(columnNode));
  $("head").replaceChildren(...columns(board).map((column) => {
    const th = header(undefined, "col", TEXT_COLUMNS.includes(column) ? "text" : ""), button = make("button");
    // A long name may break after an underscore.
    button.append(...column.split(/(?<=_)/).flatMap((part, index) => (index ? [make("wbr"), part] : [part])));
    th.dataset.column = column;
    button.type = "button";
    button.addEventListener("click", () => onSort(column));
    th.append(button);
    return th;
  }));
}

function keptRows(view) {
  const needle = view.filter.toLowerCase();
  return table.board.rows.filter((row) => row.name.toLowerCase().includes(needle) && (!view.kind || row.kind === view.kind));
}

function showTable(view, kept) {
  const sign = view.order === "ascending" ? 1 : -1;
  const keyed = kept.map((row) => [columnValue(table.board, row, view.sort), row]);
  keyed.sort(([a, x], [b, y]) => (a < b ? -sign : a > b ? sign : x.number - y.number));
  putRows(keyed.map(([, row]) => table.nodes.get(row)));
  $("count").textContent = `${kept.length} of ${table.board.rows.length} rows`;
  for (const th of $("head").children) th.setAttribute("aria-sort", th.dataset.column === view.sort ? view.order : "none");
}

function putRows(nodes) {
  const drawn = ++table.drawn;
  $("rows").replaceChildren(...nodes.slice(0, FIRST_ROWS));
  const putRest = () => { if (drawn === table.drawn) $("rows").append(...nodes.slice(FIRST_ROWS)); };
  if (nodes.length > FIRST_ROWS) requestAnimationFrame(() => setTimeout(putRest));
}
