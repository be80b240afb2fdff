// A new post, written as somebody else than the reader, whose own posts their feed does not show.

import { ApiError, path, put } from "../api.js";
import { el, say } from "../dom.js";
import { t } from "../text.js";

const AUTHOR = "page-author";

export function composeForm(changed) {
  const community = el("select", { id: "post-community", required: true });
  const fields = {
    community_id: field("community", community),
    author_id: field("author", el("input", { id: "post-author", required: true, maxlength: 128, value: AUTHOR })),
    title: field("title", el("input", { id: "post-title", required: true, maxlength: 300 })),
    body: field("body", el("textarea", { id: "post-body", rows: 3, maxlength: 40000 })),
    tags: field("tags", el("input", { id: "post-tags" })),
  };
  const fault = el("p", { class: "fault", role: "alert" });
  const node = el(
    "form",
    { class: "compose" },
    ...Object.values(fields),
    fault,
    el("button", { class: "main" }, t("compose.send")),
  );
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });

  function content() {
    const value = (name) => fields[name].lastElementChild.value.trim();
    return {
      community_id: value("community_id"),
      author_id: value("author_id"),
      title: value("title"),
      body: value("body"),
      tags: value("tags").split(",").map((tag) => tag.trim()).filter(Boolean),
    };
  }

  async function send() {
    const id = `page-${crypto.randomUUID()}`;
    fault.replaceChildren();
    try {
      await put(path("items", id), content());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fault.replaceChildren(error.message);
      return;
    }
    for (const name of ["title", "body", "tags"]) fields[name].lastElementChild.value = "";
    say(t("compose.sent"));
    changed({ until: (page) => page.items.some((item) => item.id === id) });
  }

  return {
    node,
    offer: (communities) => community.replaceChildren(...communities.map((name) => new Option(name, name))),
  };
}

function field(name, input) {
  return el("p", {}, el("label", { for: input.id }, t(`compose.${name}`)), input);
}
