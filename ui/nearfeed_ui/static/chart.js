// Lines over time with intervals around them, drawn as SVG; the same numbers stand below as a table.

import { el, svg } from "./dom.js";
import { clock, day, t } from "./text.js";

const WIDE = 640;
const HIGH = 200;
const EDGE = { left: 66, right: 12, top: 10, bottom: 24 };
const LINES = 4;
const TIMES = 5;
const DAY = 86_400_000;

/** A chart with `update(series)`: series are {name, points: [{at, y, low?, high?}]}, times in milliseconds.

    `told` formats a value; `marked` is a value that gets a line of its own; `whole` values have whole lines. */
export function lineChart(title, told, { marked = null, whole = false } = {}) {
  const picture = el("div");
  const legend = el("ul", { class: "legend" });
  const body = el("div", { class: "scroll" });
  const details = el("details", {}, el("summary", {}, t("chart.table")), body);
  let series = [];
  details.addEventListener("toggle", () => details.open && body.replaceChildren(table(series, told)));
  return {
    node: el("figure", { class: "panel" }, el("h3", {}, title), picture, legend, details),
    update(next) {
      series = next;
      picture.replaceChildren(drawn(title, series, told, { marked, whole }));
      legend.replaceChildren(...series.map(legendEntry).filter((_, index) => series[index].points.length));
      if (details.open) body.replaceChildren(table(series, told));
    },
  };
}

function drawn(title, series, told, { marked, whole }) {
  const points = series.flatMap((one) => one.points).filter((point) => point.y !== null);
  if (!points.length) return el("p", { class: "hint" }, t("chart.empty"));
  const scale = scaleOf(series.flatMap((one) => one.points), points, { marked, whole });
  const picture = svg("svg", { class: "chart", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": title });
  picture.append(...grid(scale, told), ...times(scale));
  if (marked !== null) picture.append(level(scale, marked, "grid marked"));
  series.forEach((one, index) => picture.append(...lineOf(one.points, scale, `s${index % 8}`)));
  return picture;
}

/** Where times and values lie in the picture. */
function scaleOf(all, points, { marked, whole }) {
  const values = points.flatMap((point) => [point.y, point.low ?? point.y, point.high ?? point.y]);
  if (marked !== null) values.push(marked);
  const least = Math.min(...values, 0);
  const step = Math.max(niceStep((Math.max(...values) - least || 1) / LINES), whole ? 1 : 0);
  const [bottom, top] = [Math.floor(least / step) * step, Math.ceil(Math.max(...values, step) / step) * step];
  const first = Math.min(...all.map((point) => point.at));
  const last = Math.max(...all.map((point) => point.at), first + 1);
  const [width, height] = [WIDE - EDGE.left - EDGE.right, HIGH - EDGE.top - EDGE.bottom];
  return {
    x: (at) => EDGE.left + (width * (at - first)) / (last - first),
    y: (value) => EDGE.top + (height * (top - value)) / (top - bottom),
    bottom,
    top,
    step,
    first,
    last,
  };
}

/** 1, 2 or 5 times a power of ten, not below `rough`. */
function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
}

function grid(scale, told) {
  const nodes = [];
  for (let count = 0; scale.bottom + count * scale.step <= scale.top + scale.step / 2; count++) {
    const value = scale.bottom + count * scale.step;
    nodes.push(level(scale, value, "grid"));
    nodes.push(svg("text", { x: EDGE.left - 6, y: scale.y(value) + 4, "text-anchor": "end" }, told(value)));
  }
  return nodes;
}

function level(scale, value, kind) {
  return svg("line", { class: kind, x1: EDGE.left, x2: WIDE - EDGE.right, y1: scale.y(value), y2: scale.y(value) });
}

function times(scale) {
  return Array.from({ length: TIMES }, (_, index) => {
    const at = scale.first + ((scale.last - scale.first) * index) / (TIMES - 1);
    const anchor = ["start", "end"][[0, TIMES - 1].indexOf(index)] ?? "middle";
    return svg("text", { x: scale.x(at), y: HIGH - 6, "text-anchor": anchor }, timeText(at, scale));
  });
}

function timeText(at, { first, last }) {
  const iso = new Date(at).toISOString();
  return last - first > 2 * DAY ? day(iso) : clock(iso);
}

function lineOf(points, scale, kind) {
  const known = points.filter((point) => point.y !== null);
  if (!known.length) return [];
  const bounded = known.filter((point) => point.low !== undefined && point.high !== undefined);
  const place = (at, value) => `${scale.x(at).toFixed(1)},${scale.y(value).toFixed(1)}`;
  const band = [...bounded.map((p) => place(p.at, p.high)), ...bounded.toReversed().map((p) => place(p.at, p.low))];
  const line = points.map((point, index) => {
    if (point.y === null) return "";
    return `${index && points[index - 1].y !== null ? "L" : "M"}${place(point.at, point.y)}`;
  });
  const alone = known.length === 1 ? [svg("circle", { class: "dot", cx: scale.x(known[0].at), cy: scale.y(known[0].y), r: 4 })] : [];
  return [
    svg("g", { class: kind }, bounded.length > 1 && svg("polygon", { class: "band", points: band.join(" ") }), svg("path", { class: "line", d: line.join("") }), ...alone),
  ];
}

function legendEntry(one, index) {
  const sign = svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true", class: `s${index % 8}` }, svg("circle", { class: "dot", cx: 5, cy: 5, r: 5 }));
  return el("li", {}, sign, one.name);
}

function table(series, told) {
  const moments = [...new Set(series.flatMap((one) => one.points.map((point) => point.at)))].sort((a, b) => a - b);
  const scale = { first: moments[0] ?? 0, last: moments.at(-1) ?? 0 };
  const head = el("tr", {}, el("th", {}, t("chart.time")), ...series.map((one) => el("th", { class: "number" }, one.name)));
  const rows = moments.map((at) =>
    el("tr", {}, el("td", {}, timeText(at, scale)), ...series.map((one) => el("td", { class: "number" }, cell(one, at, told)))),
  );
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

function cell(one, at, told) {
  const point = one.points.find((each) => each.at === at);
  if (!point || point.y === null) return t("none");
  const bounds = point.low === undefined ? "" : ` [${told(point.low)}, ${told(point.high)}]`;
  return `${told(point.y)}${bounds}`;
}
