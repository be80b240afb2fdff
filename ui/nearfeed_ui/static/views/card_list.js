// The cards of a feed in their order, and what becomes of them when there is a newer order.

import { el } from "../dom.js";
import { t } from "../text.js";
import { feedCard } from "./feed_card.js";

/** `seen` is told of each card; `act` is called after each action on one. */
export function cardList(user, seen, act) {
  const node = el("ol", { class: "cards", "aria-label": t("nav.feed"), "aria-busy": "true" });
  const cards = new Map();
  let order = [];
  let away = null;

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

      Posts from place `beyond` on were not asked for again, and stay below; the post `back`, which was sent away
      last, comes back among them where it is not on the page. Cards that are open, or were just
      acted on and not sent away, stay where they are until the next time. */
  function replace(page, explained, { acted = null, beyond = Infinity, back = null } = {}) {
    const places = new Map([...node.children].map((child, index) => [child.dataset.item, index]));
    const held = holdPlace(node);
    const ids = page.items.map((item) => item.id);
    const tail = below(ids, { acted, beyond, back });
    const gone = [...cards].filter(([id]) => !ids.includes(id) && !tail.includes(id));
    const staying = gone.filter(([id, card]) => card.isOpen() || (id === acted && card.stays()));
    if (cards.has(acted)) away = { id: acted, card: cards.get(acted), place: places.get(acted) };
    gone.forEach(([id]) => cards.delete(id));
    const shown = page.items.map((item) => cardOf(item, page, explained));
    const fresh = mark(shown, ids, places, order.slice(0, beyond).filter((id) => !ids.includes(id)).length);
    const nodes = [...shown, ...tail.map((id) => cards.get(id))].map((card) => card.node);
    for (const [id, card] of staying) {
      nodes.splice(places.get(id), 0, card.node);
      cards.set(id, card);
    }
    node.replaceChildren(...nodes);
    order = [...ids, ...tail];
    held();
    return fresh;
  }

  const focus = (id) => cards.get(id)?.node.querySelector("button").focus();
  /** What stays below the posts of a page. */
  function below(ids, { acted, beyond, back }) {
    const tail = order.slice(beyond).filter((id) => id !== acted && !ids.includes(id));
    if (back !== null && back === away?.id && !ids.includes(back)) {
      tail.splice(Math.max(away.place - ids.length, 0), 0, back);
      cards.set(back, away.card);
    }
    return tail;
  }

  return { node, fill, append, replace, focus, ranked: () => [...order] };
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

/** Notes the card that has the focus, or is the first to be seen; what is returned keeps focus and place on the screen.

    Of a card that has gone the next takes both. */
function holdPlace(node) {
  const focus = document.activeElement;
  const focused = node.contains(focus) ? focus.closest("li.card") : null;
  const cards = [...node.children];
  const card = focused ?? (window.scrollY > 0 ? cards.find((each) => each.getBoundingClientRect().bottom > 0) : null);
  const top = card?.getBoundingClientRect().top;
  return () => {
    const target = card && (cards.slice(cards.indexOf(card)).find((each) => each.isConnected) ?? node.lastElementChild);
    if (!target) return;
    if (focused) (focused.isConnected ? focus : target.querySelector("button")).focus({ preventScroll: true });
    window.scrollBy({ top: target.getBoundingClientRect().top - top, behavior: "instant" });
  };
}
