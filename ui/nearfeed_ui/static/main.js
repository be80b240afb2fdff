// The page's frame: which view is open, the reader, the language, the theme and the key.

import { get } from "./api.js";
import { el, hush, say } from "./dom.js";
import { mayAskAgain } from "./key.js";
import { readerChoice } from "./reader_choice.js";
import { address, go, route } from "./router.js";
import { LANGUAGES, currentLanguage, setLanguage, t } from "./text.js";
import { THEMES, currentTheme, setTheme } from "./theme.js";
import { openExperiments } from "./views/experiments.js";
import { openFeed } from "./views/feed.js";
import { openReader } from "./views/reader.js";
import { openSpace } from "./views/space.js";
import { openSystem } from "./views/system.js";

const VIEWS = {
  feed: openFeed,
  reader: openReader,
  space: openSpace,
  experiments: openExperiments,
  system: openSystem,
};
const main = document.getElementById("main");
let close = () => {};

function draw() {
  const { name, user } = route();
  const view = VIEWS[name] ? name : "feed";
  close();
  hush();
  mayAskAgain();
  document.title = `${t(`nav.${view}`)} · Nearfeed`;
  drawFrame(view, user);
  const root = el("div", { class: `view ${view}` });
  main.replaceChildren(el("h1", { class: "unseen", tabindex: -1 }, t(`nav.${view}`)), root);
  close = VIEWS[view](root, user) ?? (() => {});
}

/** The focus goes where the view begins: what had it is drawn anew. */
function enter() {
  draw();
  main.querySelector("h1").focus();
}

function drawFrame(view, user) {
  const skip = document.getElementById("skip");
  skip.textContent = t("skip");
  skip.onclick = () => main.focus();
  const links = Object.keys(VIEWS).map((name) =>
    el("a", { href: address(name, user), "aria-current": name === view ? "page" : null }, t(`nav.${name}`)),
  );
  const nav = document.getElementById("nav");
  nav.setAttribute("aria-label", t("nav"));
  nav.replaceChildren(...links);
  document.getElementById("tools").replaceChildren(
    readerChoice(user, (chosen) => go(view, chosen)),
    choice("language", LANGUAGES, currentLanguage(), (chosen) => {
      setLanguage(chosen);
      draw();
      document.getElementById("language").focus();
    }),
    choice("theme", Object.fromEntries(THEMES.map((name) => [name, t(`theme.${name}`)])), currentTheme(), setTheme),
  );
}

function choice(name, options, current, choose) {
  const select = el("select", { "aria-label": t(name), id: name });
  for (const [value, text] of Object.entries(options)) select.append(new Option(text, value, false, value === current));
  select.addEventListener("change", () => choose(select.value));
  return select;
}

/** Says which scopes a key lacks, once, when it is known. */
async function tellScopes() {
  try {
    const { scopes } = await get("/v1/scopes");
    const lacking = ["feed", "events", "items", "admin"].filter((scope) => !scopes.includes(scope));
    if (lacking.length) say(t("key.lacks", { scopes: lacking.join(", ") }), "warning");
  } catch (error) {
    say(error.message, "error");
  }
}

window.addEventListener("hashchange", enter);
document.addEventListener("key", tellScopes);
setLanguage(currentLanguage());
setTheme(currentTheme());
draw();
tellScopes();
