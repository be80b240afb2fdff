// The spaces: a map of each, and the same reader's feed in two of them side by side.

import { get } from "../api.js";
import { attempt } from "../attempt.js";
import { el } from "../dom.js";
import { t } from "../text.js";
import { comparison } from "./comparison.js";
import { mapPanel } from "./map_panel.js";

export function openSpace(root, user) {
  const panels = [];
  let closed = false;

  async function load() {
    const { spaces } = await get("/v1/admin/spaces");
    if (closed) return;
    if (!spaces.length) {
      root.append(el("p", { class: "empty" }, t("reader.nospace")));
      return;
    }
    const active = spaces.find((space) => space.active) ?? spaces[0];
    const other = spaces.find((space) => space !== active) ?? active;
    const map = mapPanel(user);
    panels.push(map);
    const choice = spaceChoice("map-space", t("space.map"), spaces, active, map.open);
    root.append(el("section", { class: "panel" }, el("p", { class: "bar" }, choice), map.node));
    root.append(comparison(user, spaces, active, other));
    map.open(active.space);
  }

  attempt(load);
  return () => {
    closed = true;
    panels.forEach((panel) => panel.close());
  };
}

export function spaceChoice(id, title, spaces, chosen, choose) {
  const select = el("select", { id, on: { change: () => choose(select.value) } });
  for (const space of spaces) {
    const state = t(space.active ? "space.active" : `space.state.${space.state}`);
    select.append(new Option(`${space.space} (${space.model}, ${state})`, space.space, false, space === chosen));
  }
  return el("label", { for: id }, title, select);
}
