// Chooses a reader: a field with the readers whose ids begin as what was typed (ARIA's combobox).

import { get } from "./api.js";
import { el, say, written } from "./dom.js";
import { number, t } from "./text.js";

const PAUSE = 150;

export function readerChoice(current, choose) {
  const list = el("ul", { id: "readers", role: "listbox", "aria-label": t("reader.choose"), hidden: true });
  const input = el("input", {
    id: "reader",
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": "readers",
    "aria-autocomplete": "list",
    "aria-label": t("reader.choose"),
    placeholder: t("reader.choose"),
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 128,
  });
  input.value = current;
  let timer = 0;
  let asked = 0;
  let active = -1;

  async function search() {
    const turn = ++asked;
    let readers;
    try {
      ({ readers } = await get("/v1/admin/readers", { prefix: input.value.trim(), limit: 12 }));
    } catch (error) {
      say(error.status === 403 ? t("reader.type") : error.message, "warning");
      return;
    }
    if (turn === asked && document.activeElement === input) show(readers);
  }

  function show(readers) {
    list.replaceChildren(...readers.map(option));
    active = -1;
    open(true);
  }

  function option(reader, index) {
    const told = t("reader.has", { posts: number(reader.posts), communities: number(reader.communities) });
    const taken = (event) => {
      event.preventDefault();
      take(reader.user_id);
    };
    return el(
      "li",
      { role: "option", id: `reader-${index}`, "data-user": reader.user_id, on: { mousedown: taken } },
      written(reader.user_id),
      el("small", {}, told),
    );
  }

  function open(shown) {
    list.hidden = !shown || !list.children.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    if (list.hidden) input.removeAttribute("aria-activedescendant");
  }

  /** Closes the list, and lets no search that is under way open it again. */
  function shut() {
    asked++;
    clearTimeout(timer);
    open(false);
  }

  function take(user) {
    shut();
    input.value = user;
    choose(user);
  }

  function move(step) {
    const options = [...list.children];
    if (!options.length) return;
    active = (active + step + options.length) % options.length;
    options.forEach((node, index) => node.setAttribute("aria-selected", String(index === active)));
    input.setAttribute("aria-activedescendant", options[active].id);
    options[active].scrollIntoView({ block: "nearest" });
  }

  function typed(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) search();
      else move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter") {
      const chosen = list.hidden ? null : list.children[active];
      const user = chosen?.dataset.user ?? input.value.trim();
      if (user) take(user);
    } else if (event.key === "Escape") {
      shut();
    }
  }

  input.addEventListener("keydown", typed);
  input.addEventListener("focus", () => {
    input.select();
    search();
  });
  input.addEventListener("blur", () => open(false));
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  return el("div", { class: "combo" }, input, list);
}
