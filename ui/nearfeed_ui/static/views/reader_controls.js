// What a reader has set: authors, topics and posts that they block, mute, follow, hide or want less of.

import { get, path, remove } from "../api.js";
import { attempt } from "../attempt.js";
import { button, el, redraw, say, written } from "../dom.js";
import { t } from "../text.js";

/** A panel with `load()`; `changed` is called when a control was lifted. */
export function setControls(user, changed) {
  const list = el("ul", { class: "plain near" });
  const node = el("section", { class: "panel set-controls" }, el("h2", {}, t("controls")), list);

  async function load() {
    const { controls } = await get(path("users", user, "controls"));
    redraw(list, controls, () => (controls.length ? controls.map(entry) : el("li", { class: "hint" }, t("controls.none"))));
  }

  function entry({ control, target }) {
    const lift = button(t("controls.lift"), async () => {
      if ((await attempt(() => remove(path("users", user, "controls", control, target)))) === undefined) return;
      say(t("controls.lifted"));
      changed();
    });
    return el("li", { "data-target": target }, el("span", {}, `${t(`controls.${control}`)} `, written(target)), lift);
  }

  return { node, load };
}
