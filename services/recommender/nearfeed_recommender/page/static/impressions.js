// Tells which posts were seen: at least half of a card, for a second.

import { ApiError, post } from "./api.js";

const HALF = 0.5;
const SEEN_AFTER = 1000;
const SEND_EVERY = 1000;

/** `watch(node, event)` tells of the event once the node was seen; `close()` sends what is left. */
export function impressions() {
  const events = new Map();
  const timers = new Map();
  const seen = new Set();
  let waiting = [];
  const observer = new IntersectionObserver(look, { threshold: HALF });
  const sending = setInterval(send, SEND_EVERY);

  function look(entries) {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(timers.get(target));
      if (isIntersecting) timers.set(target, setTimeout(() => note(target), SEEN_AFTER));
    }
  }

  function note(node) {
    const event = events.get(node);
    const name = `${event.request_id} ${event.item_id}`;
    observer.unobserve(node);
    if (seen.has(name) || document.hidden) return;
    seen.add(name);
    waiting.push(event);
  }

  async function send() {
    const events = waiting.splice(0, 500);
    if (!events.length) return;
    try {
      await post("/v1/events", { events });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      console.warn("impressions were not taken:", error.message);
    }
  }

  return {
    watch(node, event) {
      events.set(node, { ...event, kind: "impression" });
      observer.unobserve(node);
      observer.observe(node);
    },
    close() {
      observer.disconnect();
      timers.forEach(clearTimeout);
      clearInterval(sending);
      send();
    },
  };
}
