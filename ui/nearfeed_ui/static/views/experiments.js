// Experiments: which there are, what came of the one that is chosen, and a form for another.

import { get } from "../api.js";
import { attempt } from "../attempt.js";
import { button, el, redraw, written } from "../dom.js";
import { table } from "../table.js";
import { moment, percent, t } from "../text.js";
import { draftForm } from "./experiment_draft.js";
import { experimentPanel } from "./experiment.js";

const EVERY = 10_000;

export function openExperiments(root) {
  const list = el("section", { class: "panel experiment-list" });
  const panel = experimentPanel(look);
  const form = draftForm((name) => {
    chosen = name;
    look();
  });
  let chosen = null;
  let timer = 0;
  let turn = 0;
  let closed = false;

  /** Looks now and every ten seconds, whatever came of a look; a hidden page waits. */
  async function look() {
    const now = ++turn;
    clearTimeout(timer);
    try {
      await attempt(() => load(() => !closed && now === turn));
    } finally {
      if (!closed && now === turn) timer = setTimeout(lookAgain, EVERY);
    }
  }

  function lookAgain() {
    if (!document.hidden) look();
    else timer = setTimeout(lookAgain, EVERY);
  }

  async function load(isCurrent) {
    const { experiments } = await get("/v1/admin/experiments");
    if (!isCurrent()) return;
    const shown = experiments.find((one) => one.name === chosen) ?? experiments[0] ?? null;
    chosen = shown?.name ?? null;
    redraw(list, experiments, () => [el("h2", {}, t("experiments.all")), listed(experiments)]);
    for (const node of list.querySelectorAll("[data-experiment]")) {
      node.setAttribute("aria-pressed", String(node.dataset.experiment === chosen));
    }
    await panel.show(shown, isCurrent);
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
      look();
    };
    const node = button("", choose, { "data-experiment": one.name });
    node.append(written(one.name));
    return node;
  }

  root.append(list, panel.node, form.node);
  look();
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}
