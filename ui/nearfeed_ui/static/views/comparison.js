// What a reader's feed would be in two spaces, looked at before one is activated.

import { get } from "../api.js";
import { attempt } from "../attempt.js";
import { el, written } from "../dom.js";
import { number, t } from "../text.js";
import { reasonText } from "../reason.js";
import { spaceChoice } from "./space.js";

const POSTS = 20;

export function comparison(user, spaces, active, other) {
  const columns = el("div", { class: "two compare" });
  const note = el("p", { class: "hint" });
  const chosen = [active.space, other.space];
  const choose = (index) => (space) => {
    chosen[index] = space;
    attempt(load);
  };

  async function load() {
    const [left, right] = await Promise.all(
      chosen.map((space) => get("/v1/admin/spaces/feed", { space, user_id: user, limit: POSTS })),
    );
    const shared = left.items.filter((item) => placeOf(item, right)).length;
    note.replaceChildren(t("space.shared", { shared: number(shared), all: number(left.items.length) }));
    columns.replaceChildren(column(left, right), column(right, left));
  }

  const bar = el(
    "p",
    { class: "bar" },
    spaceChoice("left-space", t("space.left"), spaces, active, choose(0)),
    spaceChoice("right-space", t("space.right"), spaces, other, choose(1)),
  );
  const told = user ? "space.compare.hint" : "reader.first";
  if (user) attempt(load);
  return el("section", { class: "panel" }, el("h2", {}, t("space.compare")), el("p", { class: "hint" }, t(told)), ...(user ? [bar, note, columns] : []));
}

function column(own, other) {
  const entries = own.items.map((item) => {
    const place = placeOf(item, other);
    const there = place ? t("space.there", { place }) : t("space.only");
    return el("li", { class: place ? "both" : null, "data-item": item.id }, written(item.title, item.language), " ", el("small", {}, there), el("div", { class: "hint" }, reasonText(item)));
  });
  const command = own.active ? t("space.active") : el("code", {}, `nearfeed spaces activate ${own.space}`);
  return el("div", {}, el("h3", {}, written(own.space)), el("p", { class: "hint" }, command), el("ol", { "aria-label": own.space }, ...entries));
}

/** From 1; 0 where it is not there. */
function placeOf(item, page) {
  return page.items.findIndex((each) => each.id === item.id) + 1;
}
