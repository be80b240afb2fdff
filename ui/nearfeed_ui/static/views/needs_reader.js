// What a view shows that is about a reader, until there is one.

import { el } from "../dom.js";
import { t } from "../text.js";

export function needsReader(root) {
  root.append(el("p", { class: "empty" }, t("reader.first")));
}
