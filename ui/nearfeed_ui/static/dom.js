// Elements are made here alone, and text enters them as text: nothing that a post says is ever parsed.

import { t } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (`class`, `on`, attributes; false and null are left out) and children. */
export function el(name, properties = {}, ...children) {
  return filled(document.createElement(name), properties, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    } else if (value === true) {
      node.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function button(text, act, properties = {}) {
  return el("button", { type: "button", ...properties, on: { click: act } }, text);
}

/** Text that somebody wrote, in whatever direction and language, kept apart from what is around it. */
export function written(text, language = null, name = "bdi") {
  return el(name, { dir: "auto", lang: language }, text);
}

/** A link to another site where the address is one of the web; else its text. */
export function outwards(address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return written(address);
  }
  if (!["http:", "https:"].includes(url.protocol)) return written(address);
  return el("a", { href: url.href, rel: "noopener noreferrer nofollow", target: "_blank" }, written(address));
}

const drawn = new WeakMap();

/** Fills a node with what `draw` returns, where `shown` is not what it shows; the focus in it stays, or goes near. */
export function redraw(node, shown, draw) {
  const key = JSON.stringify(shown);
  if (drawn.get(node) === key) return;
  drawn.set(node, key);
  const keep = keptFocus(node);
  node.replaceChildren(...[draw()].flat().filter(Boolean));
  keep();
}

/** What is returned gives the focus to what says the same as what had it, or else to the first that can have it. */
function keptFocus(node) {
  const focus = document.activeElement;
  if (!node.contains(focus) || node === focus) return () => {};
  const alike = () => [...node.querySelectorAll(focus.localName)].filter((one) => one.textContent === focus.textContent);
  const place = alike().indexOf(focus);
  return () => {
    const found = alike();
    node.tabIndex = -1;
    (found[Math.min(place, found.length - 1)] ?? node.querySelector("button, a, select, input") ?? node).focus({ preventScroll: true });
  };
}

let quiet = 0;

/** Tells something, to those who see and to those who listen: for a moment, or with a way back until that is gone.

    `undo` is what takes it back: a button, or Ctrl+Z; it stays until it is taken or dismissed, or something else is told. */
export function say(text, kind = "", undo = null) {
  const status = document.getElementById("status");
  status.className = `toast shown ${kind}`;
  status.replaceChildren(text, ...(undo ? wayBack(undo) : []));
  clearTimeout(quiet);
  if (!undo) quiet = setTimeout(hush, 6000);
}

/** Nothing is told any more. */
export function hush() {
  const status = document.getElementById("status");
  if (status.contains(document.activeElement)) document.getElementById("main").focus({ preventScroll: true });
  status.classList.remove("shown");
  status.replaceChildren();
}

function wayBack(undo) {
  const taken = () => {
    hush();
    undo();
  };
  const back = button(t("undo"), taken, { "aria-keyshortcuts": "Control+Z Meta+Z" });
  const typed = (event) => {
    if (!back.isConnected) document.removeEventListener("keydown", typed);
    else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.target.closest("input, textarea")) {
      event.preventDefault();
      taken();
    }
  };
  document.addEventListener("keydown", typed);
  return [" ", back, " ", button("✕", hush, { "aria-label": t("dismiss") })];
}
