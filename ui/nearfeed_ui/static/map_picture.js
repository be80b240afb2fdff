// Points on a canvas, in the colours of their kinds, with a reader and what they read among them.

import { el, written } from "./dom.js";
import { t } from "./text.js";
import { colour } from "./theme.js";

const KINDS = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "other"];
const MARGIN = 16;
const NEAR = 14;
const FAINT = 0.12;

/** Points are {x, y, kind, community, title}; `reader` {x, y, readings} or null. */
export function mapPicture(points, reader) {
  const canvas = el("canvas", { role: "img", "aria-label": t("space.picture") });
  const tip = el("div", { class: "tip", hidden: true });
  const node = el("div", { class: "map" }, canvas, tip);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const resized = new ResizeObserver(draw);
  let chosen = null;
  let focused = null;
  let place = () => [0, 0];

  function draw() {
    const { clientWidth: width, clientHeight: height } = canvas;
    const ratio = devicePixelRatio;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    place = scaled(points, reader, width, height);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const colours = Object.fromEntries(KINDS.map((kind) => [kind, colour(`--${kind}`)]));
    const size = points.length > 1500 ? 2 : 3.5;
    for (const point of points) {
      pen.globalAlpha = chosen === null || point.community === chosen ? 0.75 : FAINT;
      dot(pen, place(point), size, colours[point.kind]);
    }
    pen.globalAlpha = 1;
    drawReader(pen);
    if (focused) ring(pen, place(focused), 8, colour("--text"));
  }

  function drawReader(pen) {
    const text = colour("--text");
    for (const reading of reader?.readings ?? []) ring(pen, place(reading), 5, text);
    if (reader?.x == null) return;
    const [x, y] = place(reader);
    dot(pen, [x, y], 9, colour("--sheet"));
    ring(pen, [x, y], 9, text);
    dot(pen, [x, y], 5, colour("--bad"));
  }

  function focus(point) {
    focused = point;
    draw();
    tip.hidden = !point;
    if (!point) return;
    const [x, y] = place(point);
    tip.replaceChildren(written(point.title));
    const left = Math.min(x + 12, canvas.clientWidth - tip.offsetWidth - 4);
    Object.assign(tip.style, { left: `${Math.max(left, 4)}px`, top: `${y + 12}px` });
  }

  function look(event) {
    const bounds = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - bounds.left, event.clientY - bounds.top];
    const distance = (point) => Math.hypot(place(point)[0] - x, place(point)[1] - y);
    let best = null;
    let least = NEAR;
    for (const point of points) {
      if ((chosen === null || point.community === chosen) && distance(point) < least) [best, least] = [point, distance(point)];
    }
    if (best !== focused) focus(best);
  }

  canvas.addEventListener("pointermove", look);
  canvas.addEventListener("pointerdown", look);
  canvas.addEventListener("pointerleave", () => focus(null));
  document.addEventListener("theme", draw);
  dark.addEventListener("change", draw);
  resized.observe(canvas);
  return {
    node,
    focus,
    choose(community) {
      chosen = community;
      draw();
    },
    close() {
      resized.disconnect();
      document.removeEventListener("theme", draw);
      dark.removeEventListener("change", draw);
    },
  };
}

/** A function from a point to where it is drawn: both axes on the same scale, all points within. */
function scaled(points, reader, width, height) {
  const all = reader?.x == null ? points : [...points, reader, ...reader.readings];
  const [xs, ys] = [all.map((point) => point.x), all.map((point) => point.y)];
  const [left, right] = [least(xs), -least(xs.map((x) => -x))];
  const [low, high] = [least(ys), -least(ys.map((y) => -y))];
  const scale = Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (high - low || 1));
  const [middle, centre] = [(left + right) / 2, (low + high) / 2];
  return (point) => [width / 2 + (point.x - middle) * scale, height / 2 - (point.y - centre) * scale];
}

const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

function dot(pen, [x, y], size, colour) {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.arc(x, y, size, 0, 2 * Math.PI);
  pen.fill();
}

function ring(pen, [x, y], size, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.arc(x, y, size, 0, 2 * Math.PI);
  pen.stroke();
}
