// Elements are made here alone, and text enters them as text: nothing that a post says is ever parsed.

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

let quiet = 0;

/** Tells something for a moment, to those who see and to those who listen. */
export function say(text, kind = "") {
  const status = document.getElementById("status");
  status.className = `toast shown ${kind}`;
  status.replaceChildren(text);
  clearTimeout(quiet);
  quiet = setTimeout(() => status.classList.remove("shown"), 6000);
}
