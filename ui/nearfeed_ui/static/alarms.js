// Warnings that are read out once: one whose numbers change while it stands is not read out anew.

import { el } from "./dom.js";

/** A list with `update(alarms)`, which are {name, text}. */
export function alarmList() {
  const node = el("div");
  const shown = new Map();

  function put({ name, text }) {
    const known = shown.get(name);
    if (known?.textContent === text) return;
    if (known) {
      known.removeAttribute("role");
      known.replaceChildren(text);
    } else {
      shown.set(name, el("p", { class: "note warning", role: "alert" }, text));
      node.append(shown.get(name));
    }
  }

  return {
    node,
    update(alarms) {
      const names = new Set(alarms.map((alarm) => alarm.name));
      for (const [name, alarm] of shown) {
        if (names.has(name)) continue;
        alarm.remove();
        shown.delete(name);
      }
      alarms.forEach(put);
    },
  };
}
