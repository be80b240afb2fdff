// What is left of a reader who was erased, and until when.

import { el, written } from "../dom.js";
import { moment, t } from "../text.js";

export function remainsOf({ remains, notes }) {
  const rows = remains.map((one) => el("li", {}, written(`${one.where}: ${one.what}`), " ", el("small", {}, untilText(one.until))));
  return [
    el("h3", {}, t("remains")),
    rows.length ? el("ul", {}, ...rows) : el("p", {}, t("remains.nothing")),
    ...notes.map((note) => el("p", { class: "hint" }, written(note))),
  ];
}

function untilText(until) {
  return until ? t("remains.until", { at: moment(until) }) : t("remains.noend");
}
