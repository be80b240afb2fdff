// The map of a space: its picture, a legend that chooses a community, and the same posts as a list.

import { get, post } from "../api.js";
import { attempt } from "../attempt.js";
import { button, el, svg, written } from "../dom.js";
import { mapPicture } from "../map_picture.js";
import { moment, number, percent, t } from "../text.js";

const COLOURS = 8;
const LISTED = 40;

export function mapPanel(user) {
  const node = el("div", { class: "map-panel" });
  let picture = null;
  let turn = 0;

  async function open(space) {
    const now = ++turn;
    const map = await fetched(space);
    if (now !== turn) return;
    if (!map) return offer(space);
    const reader = user ? await get("/v1/admin/spaces/map/reader", { space, user_id: user }) : null;
    if (now === turn) show(map, reader);
  }

  function offer(space) {
    const make = button(t("space.make"), () => remake(space, make), { class: "main" });
    clear();
    node.replaceChildren(el("p", { class: "empty" }, t("space.nomap"), el("br"), make));
  }

  async function remake(space, asked) {
    const now = turn;
    asked.disabled = true;
    const made = await attempt(() => post("/v1/admin/spaces/map", undefined, { space }));
    asked.disabled = false;
    if (made && now === turn) await attempt(() => open(space));
    if (document.activeElement === document.body) (asked.isConnected ? asked : node.querySelector("p > button"))?.focus();
  }

  function show(map, reader) {
    clear();
    const kinds = kindsOf(map);
    const points = map.points.map((point) => ({ ...point, kind: kinds.get(map.communities[point.community]) ?? "other" }));
    picture = mapPicture(points, reader);
    const list = postList(points, reader, map, picture.focus);
    const legend = legendOf(map, kinds, (community) => {
      picture.choose(community === null ? null : map.communities.indexOf(community));
      list.choose(community);
    });
    const told = { shown: number(map.points.length), posts: number(map.posts), share: percent(map.shares[0] + map.shares[1]), at: moment(map.made_at) };
    const again = button(t("space.again"), () => remake(map.space, again));
    node.replaceChildren(legend, picture.node, el("p", { class: "bar hint" }, t("space.told", told), again), list.node);
  }

  function clear() {
    picture?.close();
    picture = null;
  }

  /** What is still asked for is not shown any more. */
  function close() {
    turn++;
    clear();
  }

  return {
    node,
    close,
    open: (space) => attempt(() => open(space)),
  };
}

/** null where none was made yet. */
async function fetched(space) {
  const { spaces } = await get("/v1/admin/spaces/maps");
  return spaces.includes(space) ? get("/v1/admin/spaces/map", { space }) : null;
}

/** The colours of the communities with the most points. */
function kindsOf(map) {
  const counts = new Map();
  for (const point of map.points) counts.set(point.community, (counts.get(point.community) ?? 0) + 1);
  const largest = [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLOURS);
  return new Map(largest.map(([community], index) => [map.communities[community], `c${index}`]));
}

function legendOf(map, kinds, choose) {
  let chosen = null;
  const buttons = [...kinds.keys()].map((community) => {
    const sign = svg("svg", { viewBox: "0 0 10 10", class: kinds.get(community).replace("c", "s"), "aria-hidden": "true" }, svg("circle", { class: "dot", cx: 5, cy: 5, r: 5 }));
    const node = button("", () => {
      chosen = chosen === community ? null : community;
      buttons.forEach((each) => each.setAttribute("aria-pressed", String(each === node && chosen !== null)));
      choose(chosen);
    }, { "aria-pressed": "false", "data-community": community });
    node.append(sign, written(community));
    return node;
  });
  const others = map.communities.length > kinds.size && el("li", { class: "hint" }, t("space.others", { count: number(map.communities.length - kinds.size) }));
  return el("ul", { class: "chips legend" }, ...buttons.map((node) => el("li", {}, node)), others);
}

/** The posts nearest to the reader, or to the middle, as a list; a post that has the focus is shown on the map. */
function postList(points, reader, map, focus) {
  const [x, y] = reader?.x == null ? [0, 0] : [reader.x, reader.y];
  const distance = (point) => Math.hypot(point.x - x, point.y - y);
  const sorted = points.toSorted((a, b) => distance(a) - distance(b));
  const list = el("ol", { class: "plain near points" });

  function choose(community) {
    const some = sorted.filter((point) => community === null || map.communities[point.community] === community);
    list.replaceChildren(...some.slice(0, LISTED).map(entry));
  }

  function entry(point) {
    const node = button("", () => focus(point), { class: "plain", "data-item": point.id });
    node.append(written(point.title));
    node.addEventListener("focus", () => focus(point));
    node.addEventListener("pointerenter", () => focus(point));
    return el("li", {}, node, el("span", { class: "number" }, written(map.communities[point.community])));
  }

  choose(null);
  const title = reader?.x == null ? t("space.list.middle") : t("space.list.reader");
  return { choose, node: el("details", {}, el("summary", {}, title), list) };
}
