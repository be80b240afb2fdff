// Why a post is there, in the page's language.

import { written } from "./dom.js";
import { currentLanguage, t } from "./text.js";

const BECAUSE = "Because you read ";
const KINDS = ["close_to_read", "read_by_others", "new", "latest", "popular", "followed", "newcomer", "pick", "chosen"];

/** The service tells it in English; other languages are made from its kind. */
export function reasonText({ reason, community_id: community, author_id: author }) {
  if (currentLanguage() === "en" || !KINDS.includes(reason.kind)) return written(reason.text);
  if (reason.kind === "close_to_read" && reason.text.startsWith(BECAUSE)) {
    return written(t("reason.read", { title: reason.text.slice(BECAUSE.length) }));
  }
  return written(t(`reason.${reason.kind}`, { community, author }));
}
