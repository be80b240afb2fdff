// A question before something that cannot be taken back.

import { button, el } from "./dom.js";
import { t } from "./text.js";

/** Resolves to whether it was confirmed. */
export function confirmed(title, text, { danger = false } = {}) {
  return new Promise((resolve) => {
    const dialog = el("dialog", { "aria-labelledby": "sure" });
    const answer = (yes) => {
      resolve(yes);
      dialog.close();
    };
    dialog.append(
      el(
        "div",
        { class: "sheet" },
        el("h2", { id: "sure" }, title),
        el("p", {}, text),
        el("p", { class: "row" }, button(t("cancel"), () => answer(false), { autofocus: true }), button(title, () => answer(true), { class: danger ? "danger" : "main" })),
      ),
    );
    dialog.addEventListener("close", () => {
      resolve(false);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
