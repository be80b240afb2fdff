// A post in the feed: why it is there, what it says, and what a reader may do with it.

import { path, post, put, remove } from "../api.js";
import { attempt } from "../attempt.js";
import { button, el, outwards, say, written } from "../dom.js";
import { reasonText } from "../reason.js";
import { day, number, t } from "../text.js";

const EXCERPT = 220;
const READ_AFTER = 3000;

/** `show` fills it with an item of an answer; `act` is called after each action that changes the feed. */
export function feedCard(user, { act }) {
  const hide = () => sendAway("hide", t("card.hidden"));
  const less = () => sendAway("less", t("card.lessened"));
  const parts = cardParts({ toggleOpen, toggleLike, hide, less });
  const { node } = parts;
  let item;
  let request;
  let open = false;
  let liked = false;
  let hasRead = false;
  let reading = 0;

  const tell = (kind) =>
    attempt(() => post("/v1/events", { events: [{ user_id: user, item_id: item.id, kind, request_id: request }] }));

  async function toggleOpen() {
    open = !open;
    drawBody();
    clearTimeout(reading);
    if (!open) return;
    reading = setTimeout(read, READ_AFTER);
    if (await tell("click")) act({ acted: item.id });
  }

  async function read() {
    if (hasRead || !node.isConnected) return;
    hasRead = Boolean(await tell("read"));
    if (hasRead) act({ acted: item.id, quiet: true });
  }

  async function toggleLike() {
    if (!(await tell(liked ? "unlike" : "like"))) return;
    liked = !liked;
    parts.like.setAttribute("aria-pressed", String(liked));
    act({ acted: item.id });
  }

  /** Sets a control, which holds from the next answer on, and can be lifted. */
  async function sendAway(name, text) {
    const { id } = item;
    const control = path("users", user, "controls", name, id);
    if ((await attempt(() => put(control))) === undefined) return;
    open = liked = false;
    say(text, "", async () => {
      if ((await attempt(() => remove(control))) !== undefined) act({ until: () => true, back: id });
    });
    act({ acted: id, quiet: true, until: (page) => page.items.every((other) => other.id !== id) });
  }

  function drawBody() {
    node.classList.toggle("open", open);
    parts.title.setAttribute("aria-expanded", String(open));
    parts.body.replaceChildren(open ? item.body : excerpt(item.body));
    parts.url.replaceChildren(open && item.url ? outwards(item.url) : "");
  }

  return {
    node,
    show(shown, requestId, explained) {
      [item, request] = [shown, requestId];
      drawItem(parts, item);
      drawBody();
      parts.scores.replaceChildren(...(explained ? scores(item) : []));
    },
    mark(isNew, moved) {
      node.classList.toggle("fresh", isNew);
      const up = moved > 0 && el("span", { class: "moved", title: t("card.moved", { places: moved }) }, `▲${moved}`);
      parts.marks.replaceChildren(...[isNew && el("span", { class: "badge" }, t("card.new")), up].filter(Boolean));
    },
    isOpen: () => open,
    stays: () => open || liked,
  };
}

/** The elements of a card; they stay when it is drawn anew, and with them the focus. */
function cardParts({ toggleOpen, toggleLike, hide, less }) {
  const parts = {
    title: button("", toggleOpen, { "aria-expanded": "false" }),
    marks: el("span", { class: "marks" }),
    meta: el("p", { class: "meta" }),
    reason: el("p", { class: "reason" }),
    body: el("p", { class: "body", dir: "auto" }),
    url: el("p", { class: "url" }),
    tags: el("ul", { class: "tags", "aria-label": t("tags") }),
    like: button(t("card.like"), toggleLike, { class: "like", "aria-pressed": "false" }),
    scores: el("dl", { class: "scores" }),
  };
  const actions = el(
    "p",
    { class: "actions" },
    parts.like,
    button(t("card.hide"), hide, { class: "hide" }),
    button(t("card.less"), less, { class: "less" }),
  );
  const { title, marks, meta, reason, body, url, tags, scores } = parts;
  const article = el("article", {}, el("h2", {}, title, marks), meta, reason, body, url, tags, actions, scores);
  return { ...parts, node: el("li", { class: "card" }, article) };
}

function drawItem(parts, item) {
  parts.node.dataset.item = item.id;
  parts.title.replaceChildren(written(item.title, item.language));
  parts.meta.replaceChildren(written(item.community_id), " · ", written(item.author_id), " · ", day(item.published_at));
  parts.reason.replaceChildren(reasonText(item));
  if (item.language) parts.body.lang = item.language;
  parts.tags.replaceChildren(...item.tags.map((tag) => el("li", {}, written(tag))));
  parts.marks.replaceChildren();
  parts.node.classList.remove("fresh");
}

function excerpt(body) {
  return body.length > EXCERPT ? `${body.slice(0, EXCERPT).trimEnd()}…` : body;
}

function scores(item) {
  const steps = (item.explain ?? []).flatMap((step) => [
    el("dt", {}, written(step.step)),
    el("dd", {}, t("card.step", { rank: step.rank, score: number(step.score, 4) })),
  ]);
  return [
    el("dt", {}, t("card.source")),
    el("dd", { class: "source" }, written(item.source)),
    el("dt", {}, t("card.score")),
    el("dd", { class: "score" }, number(item.score, 4)),
    ...steps,
  ];
}
