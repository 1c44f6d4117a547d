// What the other scripts draw with. Foreign texts are set with textContent only, so that HTML in one is never executed.
"use strict";
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function draw(tag, attributes, ...inside) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...inside);
  return node;
}

function header(text, scope, className) {
  const th = make("th", text, className);
  th.scope = scope;
  return th;
}

const isNumber = (value) => typeof value === "number";
const percent = (value) => (isNumber(value) ? (100 * value).toFixed(1) : "–");
const signed = (value) => (isNumber(value) ? (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(100 * value).toFixed(1) : "–");
const estimate = ([score, se]) => `${percent(score)} ± ${percent(se)}`;
const whole = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en-US") : "–");
const address = (row) => row.page.split("/").map(encodeURIComponent).join("/");

// 45.4 ± 2.2, the error in a softer voice.
function estimateCell([score, se]) {
  const td = make("td", percent(score) + " ");
  td.append(make("small", `± ${percent(se)}`));
  return td;
}

// A bar of mean and error as a background, on a scale from `low` to `high`: 500 drawings would make sorting slow.
function errorBar(cell, [from, at, to], [low, high]) {
  cell.classList.add("bar");
  for (const [name, value] of [["--low", from], ["--at", at], ["--high", to]]) {
    const place = Math.min(1, Math.max(0, (value - low) / (high - low)));
    cell.style.setProperty(name, `${(100 * place).toFixed(1)}%`);
  }
  return cell;
}
