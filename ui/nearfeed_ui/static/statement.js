// Who changes something, and why: asked in a dialog before each change that operators are told of.

import { button, el } from "./dom.js";
import { t } from "./text.js";

const KEPT = "nearfeed-author";

/** Resolves to {author, reason} and the values of `fields` ({name, title, input}), or null. */
export function stated(title, fields = []) {
  return new Promise((resolve) => {
    const author = el("input", { id: "author", required: true, maxlength: 128, pattern: "\\S+" });
    const reason = el("input", { id: "reason", required: true, maxlength: 300 });
    author.value = sessionStorage.getItem(KEPT) ?? "";
    const all = [...fields, { name: "author", title: t("statement.author"), input: author }, { name: "reason", title: t("statement.reason"), input: reason }];
    const form = el(
      "form",
      { class: "sheet" },
      el("h2", { id: "statement" }, title),
      ...all.flatMap(({ title: label, input }) => [el("label", { for: input.id }, label), input]),
      el("p", { class: "row" }, button(t("cancel"), () => dialog.close()), el("button", { class: "main" }, title)),
    );
    const dialog = el("dialog", { "aria-labelledby": "statement" }, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEPT, author.value);
      resolve(Object.fromEntries(all.map(({ name, input }) => [name, input.value || null])));
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
