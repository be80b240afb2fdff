// The cards of a feed in their order, and what becomes of them when there is a newer order.

import { el } from "../dom.js";
import { t } from "../text.js";
import { feedCard } from "./feed_card.js";

/** `seen` is told of each card; `act` is called after each action on one. */
export function cardList(user, seen, act) {
  const node = el("ol", { class: "cards", "aria-label": t("nav.feed"), "aria-busy": "true" });
  const cards = new Map();
  let order = [];

  function cardOf(item, page, explained) {
    if (!cards.has(item.id)) cards.set(item.id, feedCard(user, { act }));
    const card = cards.get(item.id);
    card.show(item, page.request_id, explained);
    seen.watch(card.node, { user_id: user, item_id: item.id, request_id: page.request_id });
    return card;
  }

  function fill(page, explained) {
    cards.clear();
    node.replaceChildren();
    order = [];
    append(page, explained);
    node.setAttribute("aria-busy", "false");
  }

  function append(page, explained) {
    const next = page.items.filter((item) => !order.includes(item.id));
    node.append(...next.map((item) => cardOf(item, page, explained).node));
    order.push(...next.map((item) => item.id));
  }

  /** Makes the order that of a newer first page; returns how many posts are new on it.

      Cards that are open, or were just acted on and not sent away, stay where they are until the next time. */
  function replace(page, explained, acted) {
    const places = new Map([...node.children].map((child, index) => [child.dataset.item, index]));
    const held = holdPlace(node);
    const ids = page.items.map((item) => item.id);
    const gone = [...cards].filter(([id]) => !ids.includes(id));
    const staying = gone.filter(([id, card]) => card.isOpen() || (id === acted && card.stays()));
    gone.forEach(([id]) => cards.delete(id));
    const shown = page.items.map((item) => cardOf(item, page, explained));
    const fresh = mark(shown, ids, places, order.filter((id) => !ids.includes(id)).length);
    const nodes = shown.map((card) => card.node);
    for (const [id, card] of staying) {
      nodes.splice(places.get(id), 0, card.node);
      cards.set(id, card);
    }
    node.replaceChildren(...nodes);
    order = ids;
    held();
    return fresh;
  }

  return { node, fill, append, replace, ranked: () => [...order] };
}

/** Marks cards that were not there before, unless they only fill the end up, and those that rose. */
function mark(shown, ids, places, gone) {
  let fresh = 0;
  shown.forEach((card, index) => {
    const place = places.get(ids[index]);
    const isNew = place === undefined && index < ids.length - gone;
    fresh += isNew;
    card.mark(isNew, place === undefined ? 0 : place - index);
  });
  return fresh;
}

/** Notes what has the focus; what is returned keeps it, and its place on the screen, or goes to the next card. */
function holdPlace(node) {
  const focus = document.activeElement;
  const card = node.contains(focus) ? focus.closest("li.card") : null;
  const next = card?.nextElementSibling;
  const top = card?.getBoundingClientRect().top;
  return () => {
    if (!card) return;
    const target = card.isConnected ? card : next?.isConnected ? next : node.firstElementChild;
    if (!target) return;
    (card.isConnected ? focus : target.querySelector("button")).focus({ preventScroll: true });
    window.scrollBy({ top: target.getBoundingClientRect().top - top, behavior: "instant" });
  };
}
