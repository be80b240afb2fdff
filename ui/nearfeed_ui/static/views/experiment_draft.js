// A form for a draft: what the configuration says against one provider, at the feed.

import { ApiError, get, path, put } from "../api.js";
import { attempt } from "../attempt.js";
import { el, say } from "../dom.js";
import { stated } from "../statement.js";
import { number, t } from "../text.js";
import { metricName } from "../verdict.js";

const METRICS = ["ctr", "clicks_per_reader", "reads_per_reader", "likes_per_reader"];
const TRAFFIC = [100, 50, 25, 10, 5, 1];

/** `made` is called with the name of each draft. */
export function draftForm(made) {
  const name = el("input", { id: "draft-name", required: true, maxlength: 128, pattern: "[^\\s\\/]+" });
  const provider = el("select", { id: "draft-provider", required: true });
  const metric = el("select", { id: "draft-metric" }, ...METRICS.map((one) => new Option(metricName(one), one)));
  const traffic = el("select", { id: "draft-traffic" }, ...TRAFFIC.map((share) => new Option(`${number(share)} %`, share / 100)));
  const fault = el("p", { class: "fault", role: "alert" });
  const fields = [
    [t("experiments.name"), name],
    [t("experiments.challenger"), provider],
    [t("experiments.metric"), metric],
    [t("experiments.traffic"), traffic],
  ];
  const form = el(
    "form",
    { class: "compose fields" },
    ...fields.map(([title, input]) => el("p", {}, el("label", { for: input.id }, title), input)),
    fault,
    el("button", { class: "main" }, t("experiments.draft")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });

  async function load() {
    const { document: config } = await get("/v1/admin/config");
    const others = Object.keys(config.providers).filter((one) => one !== config.feed);
    provider.replaceChildren(...others.map((one) => new Option(one, one)));
  }

  async function send() {
    const given = await stated(t("experiments.draft"));
    if (!given) return;
    const arms = { control: null, [provider.value]: provider.value };
    const design = { target: "feed", arms, metric: metric.value, traffic: Number(traffic.value) };
    fault.replaceChildren();
    try {
      await put(path("admin", "experiments", name.value), design, given);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fault.replaceChildren(error.message);
      return;
    }
    say(t("experiments.done"));
    made(name.value);
    name.value = "";
  }

  attempt(load);
  return { node: el("details", { class: "panel" }, el("summary", {}, el("h2", {}, t("experiments.new"))), el("p", { class: "hint" }, t("experiments.new.hint")), form) };
}
