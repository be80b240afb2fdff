// Tells which posts were seen: at least half of a card, for a second.

import { ApiError, post } from "./api.js";

const HALF = 0.5;
const SEEN_AFTER = 1000;
const SEND_EVERY = 1000;
const SEND_AGAIN = 60_000;
const MOST = 500;

/** `watch(node, event)` tells of the event once the node was seen; `close()` sends what is left.

    Nothing is seen while the page is hidden: what is on it is looked at anew when it comes back. What could not be
    sent is sent later, the oldest 500 at most. */
export function impressions() {
  const events = new Map();
  const timers = new Map();
  const seen = new Set();
  let waiting = [];
  let wait = SEND_EVERY;
  let closed = false;
  const observer = new IntersectionObserver(look, { threshold: HALF });
  let sending = setTimeout(sendOn, wait);

  function look(entries) {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(timers.get(target));
      if (isIntersecting) timers.set(target, setTimeout(() => note(target), SEEN_AFTER));
    }
  }

  function note(node) {
    const event = events.get(node);
    if (document.hidden || !event) return;
    events.delete(node);
    observer.unobserve(node);
    const name = `${event.request_id} ${event.item_id}`;
    if (seen.has(name)) return;
    seen.add(name);
    waiting.push(event);
  }

  function lookAnew(node) {
    observer.unobserve(node);
    observer.observe(node);
  }

  function turned() {
    if (!document.hidden) [...events.keys()].forEach(lookAnew);
  }

  async function sendOn() {
    const taken = await send();
    wait = taken ? SEND_EVERY : Math.min(2 * wait, SEND_AGAIN);
    if (!closed) sending = setTimeout(sendOn, wait);
  }

  /** Whether nothing is left that may be sent later. */
  async function send() {
    const sent = waiting.splice(0, MOST);
    if (!sent.length) return true;
    try {
      await post("/v1/events", { events: sent });
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      console.warn("impressions were not taken:", error.message);
      const refused = error.status >= 400 && error.status < 500 && error.status !== 429;
      if (!refused) waiting = [...sent, ...waiting].slice(0, MOST);
      return refused;
    }
  }

  document.addEventListener("visibilitychange", turned);
  return {
    watch(node, event) {
      events.set(node, { ...event, kind: "impression" });
      lookAnew(node);
    },
    close() {
      closed = true;
      observer.disconnect();
      document.removeEventListener("visibilitychange", turned);
      timers.forEach(clearTimeout);
      clearTimeout(sending);
      send();
    },
  };
}
