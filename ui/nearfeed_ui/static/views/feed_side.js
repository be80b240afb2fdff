// Beside the feed: the communities to join and leave, and a form for a new post.

import { get, path, put, remove } from "../api.js";
import { attempt } from "../attempt.js";
import { button, el, say, written } from "../dom.js";
import { t } from "../text.js";
import { composeForm } from "./compose.js";

const MANY = 15;

/** `changed` is called after each change with what the feed shall wait for. */
export function feedSide(user, changed) {
  const list = el("ul", { class: "chips" });
  const filter = el("input", { type: "search", id: "filter", "aria-label": t("communities.filter"), placeholder: t("communities.filter"), hidden: true });
  const form = composeForm(changed);
  filter.addEventListener("input", () => {
    for (const node of list.children) node.hidden = !node.textContent.includes(filter.value);
  });

  async function load() {
    const [all, own] = await Promise.all([allCommunities(), get(path("users", user, "communities"))]);
    const joined = new Set(own.communities.map((joined) => joined.community_id));
    filter.hidden = all.length <= MANY;
    list.replaceChildren(...all.map((community) => el("li", {}, chip(community, joined.has(community)))));
    form.offer(all);
  }

  function chip(community, joined) {
    const node = button("", toggle, { "aria-pressed": String(joined), "data-community": community });
    node.append(written(community));

    async function toggle() {
      const address = path("users", user, "communities", community);
      if ((await attempt(() => (joined ? remove(address) : put(address)))) === undefined) return;
      joined = !joined;
      node.setAttribute("aria-pressed", String(joined));
      say(t(joined ? "communities.joined" : "communities.left", { community }));
      changed({ anew: true });
    }
    return node;
  }

  attempt(load);
  return el(
    "aside",
    { class: "side", "aria-label": t("communities") },
    el("details", { open: true }, el("summary", {}, el("h2", {}, t("communities"))), el("p", { class: "hint" }, t("communities.hint")), filter, list),
    el("details", { open: true }, el("summary", {}, el("h2", {}, t("compose"))), form.node),
  );
}

async function allCommunities() {
  const found = [];
  let after = null;
  do {
    const page = await get("/v1/communities", { after });
    found.push(...page.communities);
    after = page.after;
  } while (after);
  return found;
}
