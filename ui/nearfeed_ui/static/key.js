// The API key, where the service has keys: asked for once, kept until the tab is closed.

import { button, el } from "./dom.js";
import { t } from "./text.js";

const KEPT = "nearfeed-key";
let asking = null;
let declined = false;

export function currentKey() {
  return sessionStorage.getItem(KEPT);
}

/** Lets the next call that lacks a key ask for one, though the dialog was closed before. */
export function mayAskAgain() {
  declined = false;
}

/** Asks for a key; whether one was given. Several calls that lack it ask together. */
export async function askKey() {
  if (declined) return false;
  asking ??= new Promise((resolve) => open(resolve)).finally(() => {
    asking = null;
  });
  return asking;
}

function open(resolve) {
  const refused = currentKey() !== null;
  const input = el("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const form = el(
    "form",
    { class: "sheet" },
    el("h2", {}, t("key.title")),
    el("p", {}, refused ? t("key.refused") : t("key.why")),
    el("label", { for: "key" }, t("key.label")),
    input,
    el("p", { class: "row" }, button(t("cancel"), () => dialog.close()), el("button", { class: "main" }, t("key.use"))),
  );
  const dialog = el("dialog", {}, form);
  let given = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEPT, input.value.trim());
    given = true;
    dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    declined = !given;
    resolve(given);
    if (given) document.dispatchEvent(new Event("key"));
  });
  document.body.append(dialog);
  dialog.showModal();
}
