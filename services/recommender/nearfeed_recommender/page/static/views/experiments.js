// Experiments: which there are, what came of the one that is chosen, and a form for another.

import { get } from "../api.js";
import { attempt } from "../attempt.js";
import { button, el, written } from "../dom.js";
import { table } from "../table.js";
import { moment, percent, t } from "../text.js";
import { draftForm } from "./experiment_draft.js";
import { experimentPanel } from "./experiment.js";

const EVERY = 10_000;

export function openExperiments(root) {
  const list = el("section", { class: "panel experiment-list" });
  const panel = experimentPanel(load);
  const form = draftForm((name) => {
    chosen = name;
    attempt(load);
  });
  let chosen = null;
  let timer = 0;
  let closed = false;

  async function load() {
    clearTimeout(timer);
    const { experiments } = await get("/v1/admin/experiments");
    if (closed) return;
    chosen = (experiments.find((one) => one.name === chosen) ?? experiments[0])?.name ?? null;
    list.replaceChildren(el("h2", {}, t("experiments.all")), listed(experiments));
    await panel.show(experiments.find((one) => one.name === chosen) ?? null);
    if (!closed) timer = setTimeout(() => !document.hidden && attempt(load), EVERY);
  }

  function listed(experiments) {
    if (!experiments.length) return el("p", { class: "hint" }, t("experiments.none"));
    return table(
      [
        { title: t("experiments.name"), cell: nameCell },
        { title: t("system.state"), cell: (one) => t(`experiments.state.${one.state}`) },
        { title: t("experiments.target"), cell: (one) => written(one.target) },
        { title: t("experiments.arms"), cell: (one) => written(one.arms.map((arm) => arm.name).join(", ")) },
        { title: t("experiments.traffic"), number: true, cell: (one) => percent(one.traffic, 1) },
        { title: t("experiments.started"), cell: (one) => (one.started_at ? moment(one.started_at) : t("none")) },
      ],
      experiments,
    );
  }

  function nameCell(one) {
    const choose = () => {
      chosen = one.name;
      attempt(load);
    };
    const node = button("", choose, { "aria-pressed": String(one.name === chosen), "data-experiment": one.name });
    node.append(written(one.name));
    return node;
  }

  root.append(list, panel.node, form.node);
  attempt(load);
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}
