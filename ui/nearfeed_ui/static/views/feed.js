// The feed of a reader, without end; after each action it is asked for anew, and what has changed is marked.

import { get } from "../api.js";
import { attempt, pause } from "../attempt.js";
import { button, el, say } from "../dom.js";
import { impressions } from "../impressions.js";
import { t } from "../text.js";
import { cardList } from "./card_list.js";
import { feedSide } from "./feed_side.js";
import { needsReader } from "./needs_reader.js";

const PAGE = 20;
const MOST = 100;
const LOOKS = [100, 200, 300, 400, 800, 1600];
const EXPLAIN = "nearfeed-explain";

export function openFeed(root, user) {
  if (!user) return needsReader(root);
  const seen = impressions();
  const list = cardList(user, seen, refresh);
  const note = el("p", { class: "note" });
  const more = button(t("feed.more"), loadMore, { class: "more", hidden: true });
  const explain = explainBox(() => attempt(start));
  const end = new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && loadMore(), {
    rootMargin: "600px",
  });
  let cursor = null;
  let loading = false;
  let turn = 0;
  let closed = false;

  const ask = (limit) => get("/v1/feed", { user_id: user, limit, explain: explain.checked });

  async function start() {
    const page = await ask(PAGE);
    if (closed) return;
    list.fill(page, explain.checked);
    proceed(page);
  }

  async function loadMore() {
    if (loading || !cursor) return;
    loading = true;
    const [asked, now] = [cursor, turn];
    const page = await attempt(() => get("/v1/feed", { user_id: user, limit: PAGE, cursor: asked }));
    loading = false;
    if (closed || now !== turn) return;
    if (page) list.append(page, explain.checked);
    proceed(page ?? { next_cursor: null });
  }

  /** Asks until the feed is another one, or `until(page)` holds; a few seconds at most.

      Of a long feed the beginning is asked for, and what is below stays, unless it is to be `anew`. The post
      `back` has come back, and has the focus. */
  async function refresh({ acted = null, until = null, quiet = false, anew = false, back = null } = {}) {
    const now = ++turn;
    const before = list.ranked().filter((id) => id !== acted);
    const changed = until ?? ((page) => isOther(before, idsOf(page).filter((id) => id !== acted)));
    const limit = Math.min(MOST, Math.max(PAGE, before.length));
    let page;
    for (const wait of LOOKS) {
      await pause(wait);
      if (closed || now !== turn) return;
      page = await attempt(() => ask(limit));
      if (!page || changed(page)) break;
    }
    if (!page || closed || now !== turn) return;
    const beyond = anew || !page.next_cursor ? Infinity : limit;
    const fresh = list.replace(page, explain.checked, { acted, beyond, back });
    if (back) list.focus(back);
    if (!quiet) say(t("feed.updated", { fresh }));
    proceed(page);
  }

  function proceed(page) {
    cursor = page.next_cursor;
    more.hidden = !cursor;
    end.unobserve(more);
    if (cursor) end.observe(more);
    if (page.failures) tell(page);
  }

  function tell(page) {
    const failures = Object.entries(page.failures).map(([name, why]) => `${name}: ${why}`);
    if (page.degraded) note.replaceChildren(t("feed.degraded", { why: failures.join("; ") }));
    else note.replaceChildren(list.ranked().length ? "" : t("feed.empty"));
    note.classList.toggle("warning", page.degraded);
  }

  const again = button(t("feed.again"), () => refresh({ until: () => true, anew: true }));
  const bar = el("p", { class: "bar" }, el("label", {}, explain, t("feed.explain")), again);
  root.append(el("div", { class: "column" }, bar, note, list.node, more), feedSide(user, refresh));
  attempt(start);
  return () => {
    closed = true;
    end.disconnect();
    seen.close();
  };
}

function explainBox(changed) {
  const box = el("input", { type: "checkbox" });
  box.checked = sessionStorage.getItem(EXPLAIN) === "yes";
  box.addEventListener("change", () => {
    sessionStorage.setItem(EXPLAIN, box.checked ? "yes" : "no");
    changed();
  });
  return box;
}

const idsOf = (page) => page.items.map((item) => item.id);

/** Whether an order has changed, but for what moved up from below its end. */
function isOther(before, after) {
  const length = Math.min(before.length, after.length) - 1;
  return after.slice(0, Math.max(length, 0)).some((id, index) => id !== before[index]);
}
