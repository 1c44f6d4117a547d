// Pictures: score against cost, and pass@k of two rows. Drawn in CSS pixels, so that letters have one size everywhere.
"use strict";
const PAD = { left: 44, right: 16, top: 16, bottom: 44 };
// Round numbers of tokens for a logarithmic axis: 1, 2, 5, 10, ..., or where these are too few 1, 1.5, 2, 3, 4, 5, 7, 10, ...
const ROUND = [[1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]].map((digits) => [...Array(8).keys()].flatMap((power) => digits.map((digit) => digit * 10 ** power)));
const short = (value) => (value >= 1e6 ? `${value / 1e6}M` : value >= 1000 ? `${value / 1000}k` : `${value}`);

function axes(width, height, xTicks, yTicks, x, y, xLabel, yLabel) {
  const bottom = height - PAD.bottom, group = draw("g", { "aria-hidden": "true" });
  for (const value of yTicks) {
    group.append(draw("path", { class: "grid", d: `M${PAD.left} ${y(value)}H${width - PAD.right}` }));
    group.append(draw("text", { x: PAD.left - 8, y: y(value) + 4, "text-anchor": "end" }, `${Math.round(100 * value)}`));
  }
  for (const value of xTicks) {
    group.append(draw("path", { class: "axis", d: `M${x(value)} ${bottom}v5` }));
    group.append(draw("text", { x: x(value), y: bottom + 19, "text-anchor": "middle" }, short(value)));
  }
  group.append(draw("path", { class: "axis", d: `M${PAD.left} ${bottom}H${width - PAD.right}` }));
  group.append(draw("text", { class: "soft", x: width - PAD.right, y: height - 6, "text-anchor": "end" }, xLabel));
  if (yLabel) group.append(draw("text", { class: "soft", x: 4, y: 10 }, yLabel));
  return group;
}

// Known from the last change of size: asking the page would make it lay out the table first, at every key.
let costWidth = null;

// The steps of 1, 2, 5, ... percent that make at most six lines between two scores.
function percentTicks(low, high) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2].find((size) => (high - low) / size <= 6) ?? 0.25;
  return [...Array(101).keys()].map((n) => n * step).filter((value) => value >= low - 1e-9 && value <= high + 1e-9);
}

function showCost(board, kept) {
  const rows = board.rows.filter((row) => isNumber(row.cost) && row.cost > 0 && isNumber(row.mean[0]));
  const missing = board.rows.length - rows.length, counted = missing === 1 ? "1 row has" : `${missing} rows have`;
  $("cost-note").textContent = (rows.length ? "Each point is a row and leads to its page. " : "") +
    (missing ? `${counted} no count of tokens (reported, or measured by an older version) and ${missing === 1 ? "is" : "are"} left out.` : "");
  const place = $("cost"), width = Math.min(900, costWidth ??= place.clientWidth), asked = `${board.name} ${width}`;
  if (place.dataset.drawn !== asked) {
    place.dataset.drawn = asked;
    place.replaceChildren(...(rows.length ? [scatter(rows, width)] : []));
  }
  const shown = new Set(kept.map((row) => String(row.number)));
  for (const point of place.querySelectorAll("a")) point.classList.toggle("out", !shown.has(point.dataset.number));
}

function scatter(rows, width) {
  const height = width < 500 ? 300 : 380, costs = rows.map((row) => row.cost);
  // A margin, so that neither a point nor its error touches an axis; and at least a factor of three, for round numbers.
  const margin = Math.max(1.25, Math.sqrt((3.2 * Math.min(...costs)) / Math.max(...costs)));
  const [least, most] = [Math.min(...costs) / margin, Math.max(...costs) * margin];
  const lows = rows.map((row) => row.mean[0] - row.mean[1]), highs = rows.map((row) => row.mean[0] + row.mean[1]);
  const space = 0.1 * Math.max(0.05, Math.max(...highs) - Math.min(...lows));
  const [low, high] = [Math.max(-0.02, Math.min(...lows) - space), Math.min(1.02, Math.max(...highs) + space)];
  const x = (cost) => PAD.left + 12 + ((width - PAD.left - PAD.right - 24) * Math.log(cost / least)) / Math.log(most / least);
  const y = (score) => height - PAD.bottom - ((height - PAD.bottom - PAD.top) * (score - low)) / (high - low);
  const [few, many] = ROUND.map((values) => values.filter((value) => value >= least && value <= most));
  const ticks = few.length >= 4 ? few : many, apart = ticks.filter((value, index) => index % Math.ceil((60 * ticks.length) / width) === 0);
  const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Mean score against generated tokens an answer, a link a row" });
  svg.append(axes(width, height, apart, percentTicks(low, high), x, y, "generated tokens an answer (log scale)", "mean score, %"));
  const points = rows.map((row) => point(row, x(row.cost), y));
  svg.append(...points, ...nameBest(rows, x, y, width, height - PAD.bottom));
  return svg;
}

function point(row, x, y) {
  const [mean, se] = row.mean, said = `${row.name}: ${estimate(row.mean)} %, ${whole(row.cost)} tokens an answer`;
  const link = draw("a", { href: address(row), "aria-label": said, class: `point ${row.kind}`, "data-number": row.number });
  link.append(draw("title", {}, said), draw("path", { class: "error", d: `M${x} ${y(mean - se)}V${y(mean + se)}` }));
  link.append(draw("circle", { cx: x, cy: y(mean), r: 12, class: "target" }), draw("circle", { cx: x, cy: y(mean), r: 5 }));
  return link;
}

// Names of the rows that no other one beats at their cost, wherever there is room; the others tell theirs when asked.
function nameBest(rows, x, y, width, bottom) {
  const byCost = [...rows].sort((a, b) => a.cost - b.cost || b.mean[0] - a.mean[0]), taken = rows.map((row) => box(x(row.cost) - 6, y(row.mean[0]) - 6, 12, 12));
  const named = [];
  let best = -1;
  for (const row of byCost) {
    if (row.mean[0] <= best) continue;
    best = row.mean[0];
    const name = row.name.length > 28 ? `${row.name.slice(0, 27)}…` : row.name, length = 7 * name.length;
    const [cx, cy] = [x(row.cost), y(best)];
    const spots = [[cx + 10, "start", cx + 10], [cx - 10, "end", cx - 10 - length]].flatMap(([at, anchor, left]) => [-8, 16].map((dy) => [at, anchor, left, cy + dy]));
    const free = spots.find(([, , left, top]) => left > PAD.left + 4 && left + length < width - 4 && top > PAD.top + 12 && top + 5 < bottom && !taken.some((other) => meet(other, box(left, top - 11, length, 14))));
    if (!free) continue;
    taken.push(box(free[2], free[3] - 11, length, 14));
    named.push(draw("text", { class: "name", x: free[0], y: free[3], "text-anchor": free[1], "aria-hidden": "true" }, name));
  }
  return named;
}

const box = (left, top, width, height) => ({ left, top, right: left + width, bottom: top + height });
const meet = (one, other) => one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;

function curve(task, a, b) {
  const longest = Math.max(a.length, b.length), width = 340, height = 220;
  const x = (k) => PAD.left + ((width - PAD.left - PAD.right) * Math.log(k)) / Math.log(longest);
  const y = (p) => height - PAD.bottom - (height - PAD.bottom - PAD.top) * p;
  const label = `pass@k of ${task}: ` + [["A", a], ["B", b]].filter(([, values]) => values.length)
    .map(([name, values]) => `${name} from ${percent(values[0])} at k = 1 to ${percent(values.at(-1))} at k = ${values.length}`).join("; ");
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const powers = [...Array(12).keys()].map((n) => 2 ** n).filter((k) => k <= longest);
  svg.append(axes(width, height, powers, [0, 0.25, 0.5, 0.75, 1], x, y, "k", ""));
  for (const [name, values] of [["a", a], ["b", b]])
    if (values.length) svg.append(draw("polyline", { class: `line line-${name}`, points: values.map((p, index) => `${x(index + 1).toFixed(1)},${y(p).toFixed(1)}`).join(" ") }));
  const figure = make("figure");
  figure.append(make("figcaption", task), svg);
  return figure;
}
