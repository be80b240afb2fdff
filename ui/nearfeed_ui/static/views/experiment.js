// One experiment: its arms and what came of them, over time, with intervals that hold at any look.

import { alarmList } from "../alarms.js";
import { get, path } from "../api.js";
import { lineChart } from "../chart.js";
import { el, redraw, written } from "../dom.js";
import { table } from "../table.js";
import { milliseconds, moment, number, percent, t } from "../text.js";
import { metricName, stopText, verdictText } from "../verdict.js";
import { experimentActions } from "./experiment_actions.js";
import { dayTable } from "./experiment_days.js";

const RATES = ["ctr", "degraded", "failed"];

/** A panel with `show(experiment, isCurrent)`; `changed` is called after each change of it. */
export function experimentPanel(changed) {
  const node = el("div", { class: "experiments experiment" });
  let name = null;
  let parts = null;

  async function show(experiment, isCurrent) {
    if (!experiment) {
      node.replaceChildren();
      name = null;
      return;
    }
    const [results, course] = await Promise.all([
      get(path("admin", "experiments", experiment.name, "results")),
      get(path("admin", "experiments", experiment.name, "course")),
    ]);
    if (!isCurrent()) return;
    if (experiment.name !== name) begin(experiment);
    fill(experiment, results, course);
  }

  function begin(experiment) {
    name = experiment.name;
    const metric = experiment.design.metric ?? "ctr";
    parts = {
      title: el("div"),
      verdict: el("p", { class: "verdict" }),
      alarms: alarmList(),
      stopped: el("p"),
      outlived: el("p"),
      actions: el("div"),
      arms: el("section", { class: "panel arms" }),
      days: el("section", { class: "panel days" }),
      metric: lineChart(t("experiments.course", { metric: metricName(metric) }), (value) => told(metric, value)),
      lift: lineChart(t("experiments.lift", { metric: metricName(metric) }), (value) => percent(value, 1), { marked: 0 }),
    };
    const charts = el("div", { class: "two" }, parts.metric.node, parts.lift.node);
    const { title, verdict, alarms, stopped, outlived, actions } = parts;
    const head = el("section", { class: "panel" }, title, verdict, alarms.node, stopped, outlived, actions);
    node.replaceChildren(head, parts.arms, charts, parts.days);
  }

  function fill(experiment, results, course) {
    redraw(parts.title, [experiment.state, experiment.design.description], () => titleOf(experiment));
    redraw(parts.verdict, verdictText(results), () => written(verdictText(results)));
    parts.alarms.update(alarmsOf(experiment, results));
    redraw(parts.stopped, experiment.stop_reason, () => experiment.stop_reason && t("experiments.stopped", { reason: stopText(experiment.stop_reason) }));
    redraw(parts.outlived, outlivedText(results), () => outlivedText(results));
    redraw(parts.actions, experiment, () => experimentActions(experiment, changed));
    redraw(parts.arms, [experiment.arms, results], () => [el("h2", {}, t("experiments.arms")), armTable(experiment, results)]);
    redraw(parts.days, results.days, () => dayTable(results.days));
    parts.metric.update(seriesOf(course, (point) => bounded(point.mean, point.interval)));
    parts.lift.update(seriesOf(course, (point) => point.lift && bounded(point.lift.estimate, point.lift)));
  }

  return { node, show };
}

/** Up to when the intervals tell, where that is earlier than the counts. */
function outlivedText({ intervals_until: told, until }) {
  return told && Date.parse(told) < Date.parse(until) ? t("experiments.outlived", { time: moment(told) }) : "";
}

function bounded(y, interval) {
  return interval ? { y, low: interval.low, high: interval.high } : { y };
}

/** A line by arm, of the points where `valueOf` has something to tell. */
function seriesOf(course, valueOf) {
  const arms = [...new Set(course.points.map((point) => point.arm))];
  const pointsOf = (arm) =>
    course.points
      .filter((point) => point.arm === arm)
      .map((point) => ({ at: Date.parse(point.at), ...(valueOf(point) ?? { y: null }) }))
      .filter((point) => point.y !== null);
  return arms.map((arm) => ({ name: arm, points: pointsOf(arm) }));
}

function titleOf({ name, state, design }) {
  const badge = el("span", { class: "badge" }, t(`experiments.state.${state}`));
  return [el("h2", {}, written(name), " ", badge), design.description && el("p", { dir: "auto" }, design.description)];
}

/** {name, text}; the name stays while the numbers change. */
function alarmsOf(experiment, results) {
  const told = [];
  if (results.mismatch?.alarm) {
    told.push({ name: "mismatch", text: t("experiments.mismatch", { p: number(results.mismatch.p_value, 5) }) });
  }
  for (const { arm, metric } of results.guardrails.filter((guardrail) => guardrail.broken)) {
    told.push({ name: `broken ${arm} ${metric}`, text: t("experiments.broken", { arm, metric: metricName(metric) }) });
  }
  for (const arm of experiment.arms.filter((one) => one.stopped)) {
    const text = t("experiments.armstopped", { arm: arm.name, reason: stopText(arm.stopped) });
    told.push({ name: `stopped ${arm.name}`, text });
  }
  return told;
}

function armTable(experiment, results) {
  const design = new Map(experiment.arms.map((arm) => [arm.name, arm]));
  const known = new Map(results.arms.map((arm) => [arm.arm, arm]));
  const names = [...new Set([...design.keys(), ...known.keys()])];
  const count = (title, key) => ({ title, number: true, cell: (name) => (known.has(name) ? number(known.get(name)[key]) : t("none")) });
  const measured = (name) => known.get(name)?.metrics[results.metric];
  return table(
    [
      { title: t("experiments.arm"), cell: (name) => armName(name, results.control) },
      { title: t("experiments.provider"), cell: (name) => (design.get(name)?.provider ? written(design.get(name).provider) : t("experiments.configured")) },
      { title: t("experiments.share"), number: true, cell: (name) => (design.get(name)?.share == null ? t("none") : percent(design.get(name).share, 1)) },
      count(t("system.readers.count"), "readers"),
      count(t("experiments.impressions"), "impressions"),
      count(t("experiments.clicks"), "clicks"),
      count(t("experiments.reads"), "reads"),
      count(t("experiments.likes"), "likes"),
      count(t("experiments.sessions"), "sessions"),
      { title: t("experiments.depth"), number: true, cell: (name) => perSession(known.get(name)) },
      { title: metricName(results.metric), number: true, cell: (name) => (measured(name)?.mean == null ? t("none") : told(results.metric, measured(name).mean)) },
      { title: t("experiments.difference"), number: true, cell: (name) => liftText(measured(name)) },
      { title: "p95", number: true, cell: (name) => milliseconds(known.get(name)?.took_p95_ms ?? null) },
      count(t("experiments.failed"), "failed"),
    ],
    names,
  );
}

function armName(name, control) {
  return [written(name), name === control && el("small", {}, ` ${t("experiments.control")}`)].filter(Boolean);
}

function perSession(arm) {
  return arm?.seen_per_session == null ? t("none") : number(arm.seen_per_session, 1);
}

function liftText(measured) {
  const lift = measured?.lift;
  if (!lift) return t("none");
  const sign = lift.estimate > 0 ? "+" : "";
  return `${sign}${percent(lift.estimate, 1)} [${percent(lift.low, 1)}, ${percent(lift.high, 1)}]`;
}

function told(metric, value) {
  if (RATES.includes(metric)) return percent(value, 1);
  return metric === "took_ms" ? milliseconds(value) : number(value, 3);
}
