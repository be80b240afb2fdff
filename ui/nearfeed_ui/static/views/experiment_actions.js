// Starting, ramping and stopping: each asks who does it and why, for the record.

import { path, post } from "../api.js";
import { attempt } from "../attempt.js";
import { button, el, say } from "../dom.js";
import { stated } from "../statement.js";
import { number, t } from "../text.js";

const RAMPS = [1, 5, 10, 25, 50, 100];

export function experimentActions(experiment, changed) {
  const act = (title, verb, fields = []) => async () => {
    const given = await stated(t(title), fields);
    if (!given) return;
    const address = path("admin", "experiments", experiment.name, ...verb);
    if ((await attempt(() => post(address, undefined, given))) === undefined) return;
    say(t("experiments.done"));
    await attempt(changed);
  };
  const nodes = [];
  if (experiment.state === "draft") nodes.push(button(t("experiments.start"), act("experiments.start", ["start"]), { class: "main" }));
  if (experiment.state === "running") {
    nodes.push(button(t("experiments.ramp"), act("experiments.ramp", ["ramp"], [rampField(experiment)])));
    nodes.push(button(t("experiments.stop"), act("experiments.stop", ["stop"], [adoptedField(experiment)]), { class: "danger" }));
    for (const arm of experiment.arms.filter((one) => !one.control && !one.stopped)) {
      nodes.push(button(t("experiments.stoparm", { arm: arm.name }), act("experiments.stoparm.title", ["arms", arm.name, "stop"])));
    }
  }
  return el("p", { class: "row" }, ...nodes);
}

function rampField(experiment) {
  const current = Math.round(100 * experiment.traffic);
  const shares = [...new Set([...RAMPS, current])].sort((a, b) => a - b);
  const select = el("select", { id: "traffic" });
  for (const share of shares) select.append(new Option(`${number(share)} %`, share / 100, false, share === current));
  return { name: "traffic", title: t("experiments.traffic"), input: select };
}

function adoptedField(experiment) {
  const select = el("select", { id: "adopted" }, new Option(t("experiments.adoptnone"), ""));
  select.append(...experiment.arms.map((arm) => new Option(arm.name, arm.name)));
  return { name: "adopted", title: t("experiments.adopted"), input: select };
}
