// A reader: what is behind their vector, what is near it, and what they may do about it.

import { get, path, post, put, remove } from "../api.js";
import { attempt } from "../attempt.js";
import { confirmed } from "../confirm.js";
import { button, el, redraw, say, svg, written } from "../dom.js";
import { address } from "../router.js";
import { number, percent, t } from "../text.js";
import { needsReader } from "./needs_reader.js";
import { remainsOf } from "./reader_remains.js";
import { setControls } from "./reader_controls.js";

const NEAR = 10;

export function openReader(root, user) {
  if (!user) return needsReader(root);
  const readings = el("section", { class: "panel readings" });
  const topics = el("section", { class: "panel topics" });
  const posts = el("section", { class: "panel near" });
  const readers = el("section", { class: "panel near" });
  const set = setControls(user, load);
  const remains = el("div", { class: "remains" });
  let closed = false;

  /** Each part by itself: a key may be good for some of them alone. */
  function load() {
    return Promise.all([attempt(loadReadings), attempt(set.load), attempt(loadAround)]);
  }

  async function loadReadings() {
    const behind = await get(path("users", user, "vector"));
    if (!closed) redraw(readings, behind, () => readingsOf(behind));
  }

  async function loadAround() {
    const around = await get("/v1/admin/readers/around", { user_id: user, limit: NEAR });
    if (closed) return;
    redraw(topics, around.topics, () => topicsOf(around.topics));
    redraw(posts, around.posts, () => [el("h2", {}, t("reader.posts")), listed(around.posts, nearPost)]);
    redraw(readers, [around.readers, around.compared, around.comparable], () => readersOf(around));
  }

  function topicsOf(found) {
    const chips = found.map((topic) => el("li", {}, chip(topic)));
    return [el("h2", {}, t("reader.topics")), el("p", { class: "hint" }, t("reader.topics.hint")), el("ul", { class: "chips" }, ...chips)];
  }

  function chip(topic) {
    const name = written(topic.tag);
    name.classList.toggle("muted", topic.muted);
    const share = el("span", { class: "number" }, percent(topic.share, topic.share < 0.1 ? 1 : 0));
    const node = button("", toggle, { "aria-pressed": String(topic.muted), "data-tag": topic.tag, title: t("reader.mute") });
    node.append(name, share);

    async function toggle() {
      const control = path("users", user, "controls", "mute", topic.tag);
      if ((await attempt(() => (topic.muted ? remove(control) : put(control)))) === undefined) return;
      say(t(topic.muted ? "reader.unmuted" : "reader.muted", { tag: topic.tag }));
      await load();
    }
    return node;
  }

  async function reset() {
    if (!(await confirmed(t("reader.reset"), t("reader.reset.sure", { user })))) return;
    if ((await attempt(() => post(path("users", user, "reset")))) === undefined) return;
    say(t("reader.reset.done"));
    await load();
  }

  async function save() {
    const exported = await attempt(() => get(path("users", user, "export")));
    if (exported === undefined) return;
    const file = new Blob([JSON.stringify(exported, null, 2)], { type: "application/json" });
    const link = el("a", { href: URL.createObjectURL(file), download: `nearfeed-${user}.json` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  async function erase() {
    if (!(await confirmed(t("reader.erase"), t("reader.erase.sure", { user }), { danger: true }))) return;
    if ((await attempt(() => remove(path("users", user)))) === undefined) return;
    say(t("reader.erase.done"));
    await load();
    await attempt(async () => remains.replaceChildren(...remainsOf(await get(path("admin", "erasure", user)))));
  }

  const controls = el(
    "section",
    { class: "panel" },
    el("h2", {}, t("reader.controls")),
    el("p", { class: "hint" }, t("reader.controls.hint")),
    el("p", { class: "row" }, button(t("reader.reset"), reset, { class: "reset" }), button(t("reader.export"), save, { class: "export" }), button(t("reader.erase"), erase, { class: "erase danger" })),
    remains,
  );
  root.append(el("div", { class: "column" }, readings, el("div", { class: "two" }, posts, readers)), el("aside", { class: "side" }, topics, set.node, controls));
  load();
  return () => {
    closed = true;
  };
}

function readingsOf({ vector, readings, space }) {
  const heaviest = Math.max(...readings.map((reading) => reading.weight), 0);
  const rows = readings.map((reading) =>
    el(
      "tr",
      { "data-item": reading.item_id },
      el("td", {}, written(reading.title ?? reading.item_id)),
      el("td", {}, bar(heaviest ? reading.weight / heaviest : 0)),
      el("td", { class: "number" }, number(reading.weight, 3)),
    ),
  );
  const head = el("tr", {}, el("th", {}, t("reader.post")), el("th", { class: "number", colspan: 2 }, t("reader.weight")));
  return [
    el("h2", {}, t("reader.readings", { count: number(readings.length) })),
    el("p", { class: "hint" }, space ? t("reader.readings.hint", { space }) : t("reader.nospace")),
    vector && bars(vector),
    vector && el("p", { class: "hint" }, t("reader.vector", { dim: vector.length })),
    rows.length > 0 && el("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": t("reader.post") }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows))),
  ].filter(Boolean);
}

function bar(share) {
  return svg("svg", { class: "share", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { width: 100 * share, height: 8, rx: 2 }));
}

/** The vector's entries as bars above and below a line. */
function bars(vector) {
  const largest = Math.max(...vector.map(Math.abs), 1e-9);
  const rects = vector.map((value, index) => {
    const height = (31 * Math.abs(value)) / largest;
    return svg("rect", { x: index + 0.1, width: 0.8, y: value < 0 ? 32 : 32 - height, height, class: value < 0 ? "below" : null });
  });
  return svg("svg", { class: "vector", viewBox: `0 0 ${vector.length} 64`, preserveAspectRatio: "none", role: "img", "aria-label": t("reader.vector", { dim: vector.length }) }, ...rects);
}

/** Says among how many they were found, where not among all. */
function readersOf({ readers, compared, comparable }) {
  const told = { compared: number(compared), comparable: number(comparable) };
  const hint = t(compared < comparable ? "reader.sampled" : "reader.compared", told);
  return [el("h2", {}, t("reader.readers")), listed(readers, nearReader), el("p", { class: "hint" }, hint)];
}

function listed(found, row) {
  return found.length ? el("ul", { class: "plain" }, ...found.map(row)) : el("p", { class: "hint" }, t("reader.nothing"));
}

function nearPost(item) {
  const met = item.met && el("small", {}, ` ${t("reader.met")}`);
  return el("li", { "data-item": item.id }, el("span", {}, written(item.title, item.language), met), el("span", { class: "number" }, number(item.score, 3)));
}

function nearReader(reader) {
  return el("li", {}, el("a", { href: address("reader", reader.user_id) }, written(reader.user_id)), el("span", { class: "number" }, number(reader.cosine, 3)));
}
