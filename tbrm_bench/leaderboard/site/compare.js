// Two chosen rows side by side. Their counts by problem are loaded when they are asked for: a script a row, since pages
// opened from disk may load nothing else.
"use strict";
const COUNTS = new Map(), WAITING = new Map();
window.putCounts = (page, counts) => COUNTS.set(page, counts);

function loadCounts(row) {
  if (!row.counts || COUNTS.has(row.counts)) return Promise.resolve(COUNTS.get(row.counts));
  if (!WAITING.has(row.counts)) {
    WAITING.set(row.counts, new Promise((done) => {
      const script = make("script");
      script.src = row.counts.split("/").map(encodeURIComponent).join("/");
      script.onload = script.onerror = () => done(COUNTS.get(row.counts));
      document.head.append(script);
    }));
  }
  return WAITING.get(row.counts);
}

const isPaired = (a, b, task) => Boolean(a && b && a.tasks[task].questions === b.tasks[task].questions);

// B - A on the same questions, as in tbrm_bench.metrics.paired: a question's difference is one draw, clusters go together.
function paired(a, b, questions) {
  const d = a.correct.map((count, index) => b.scores[b.correct[index]] - a.scores[count]);
  const mean = sum(d) / d.length, { clusters, num_clusters: groups, t } = questions, sums = new Float64Array(groups);
  d.forEach((value, index) => { sums[clusters ? clusters[index] : index] += value - mean; });
  const se = groups > 1 ? Math.sqrt((groups / (groups - 1)) * sum([...sums].map((value) => value * value))) / d.length : NaN;
  return interval(mean, se, t, groups);
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

// Where no question was answered differently, Wilson's bound on the share of those that would be.
function interval(mean, se, t, groups) {
  const half = !isNumber(t) ? NaN : se > 1e-12 ? t * se : (t * t) / (groups + t * t);
  return { mean, se, low: Math.max(mean - half, -1), high: Math.min(mean + half, 1) };
}

// From two error bars, as if they had nothing in common.
function independent([a, one], [b, two]) {
  const se = Math.hypot(one, two);
  return { mean: b - a, se, low: Math.max(b - a - 1.959964 * se, -1), high: Math.min(b - a + 1.959964 * se, 1) };
}

// The differences by task, and last the one of the means.
function differences(board, a, b, one, two) {
  const tasks = board.tasks.map((task, index) => isPaired(one, two, task)
    ? { ...paired(one.tasks[task], two.tasks[task], board.questions[one.tasks[task].questions]), isPaired: true }
    : { ...independent(a.tasks[index], b.tasks[index]), isPaired: false });
  if (!tasks.every((task) => task.isPaired)) return [...tasks, { ...independent(a.mean, b.mean), isPaired: false }];
  const mean = sum(tasks.map((task) => task.mean)) / tasks.length, se = Math.sqrt(sum(tasks.map((task) => task.se ** 2))) / tasks.length;
  const groups = sum(board.tasks.map((task) => board.questions[one.tasks[task].questions].num_clusters - 1)) + 1;
  return [...tasks, { ...interval(mean, se, one.t_mean, groups), isPaired: true }];
}

async function showComparison(board, a, b) {
  const asked = [board.name, a.number, b.number].join(" ");
  if (asked === showComparison.asked) return;
  showComparison.asked = asked;
  const [one, two] = await Promise.all([loadCounts(a), loadCounts(b)]);
  if (asked !== showComparison.asked) return;
  const rows = differences(board, a, b, one, two), reach = Math.max(0.01, ...rows.flatMap((row) => [-row.low, row.high]).filter((value) => value <= 1));
  $("differences").replaceChildren(...rows.map((row, index) => {
    const tr = make("tr", undefined, index === board.tasks.length ? "total" : ""), name = board.tasks[index] ?? "mean";
    const delta = make("td", signed(row.mean) + " "), bar = make("td");
    delta.append(make("small", `± ${percent(row.se)}`));
    bar.setAttribute("aria-hidden", "true");
    if (row.low < row.high) errorBar(bar, [row.low, row.mean, row.high], [-reach, reach]);
    tr.append(header(name, "row"), ...[a, b].map((row) => estimateCell(row.tasks[index] ?? row.mean)), delta,
      make("td", Number.isNaN(row.low) ? "–" : `${signed(row.low)} to ${signed(row.high)}`), bar, make("td", row.isPaired ? "paired" : "independent", "text how"));
    return tr;
  }));
  showCurves(board, one, two);
  $("verdict").textContent = a === b ? "A and B are the same row." : verdict(board, a, b, rows.at(-1));
}

function verdict(board, a, b, mean) {
  const [i, j] = [a.number, b.number].sort((x, y) => x - y), p = board.p[`${i}-${j}`];
  const how = mean.isPaired ? "question by question" : "from two error bars, taken as independent";
  const said = isNumber(p) ? `p ${p < 0.0001 ? "< 0.0001" : `= ${p.toPrecision(2)}`} (before Holm's correction)` : "no p-value: the board has too many rows";
  return `B − A in the mean: ${signed(mean.mean)} ± ${percent(mean.se)} points, 95 % CI ${signed(mean.low)} to ${signed(mean.high)}, ${how}; ${said}.`;
}

function showCurves(board, one, two) {
  const of = (counts, task) => counts?.curves[task] ?? [];
  const tasks = board.tasks.filter((task) => of(one, task).length || of(two, task).length);
  $("curves").replaceChildren(...tasks.map((task) => curve(task, of(one, task), of(two, task))));
  $("curves-note").textContent = tasks.length ? "The chance that at least one of k samples is correct; A solid, B dashed." : "Neither row has counts of several samples.";
}
