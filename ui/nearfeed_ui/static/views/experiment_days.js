// What came of each arm day by day, as a table: counts, how deep readers went, how long answers took.

import { el, written } from "../dom.js";
import { table } from "../table.js";
import { day, milliseconds, number, percent, t } from "../text.js";

/** A section about the `days` of an experiment's results. */
export function dayTable(days) {
  const count = (title, key) => ({ title, number: true, cell: (one) => number(one[key]) });
  const rate = (one) => (one.impressions ? percent(one.clicks / one.impressions, 1) : t("none"));
  const columns = [
    { title: t("chart.time"), cell: (one) => day(one.at) },
    { title: t("experiments.arm"), cell: (one) => written(one.arm) },
    count(t("system.readers.count"), "readers"),
    count(t("experiments.sessions"), "sessions"),
    count(t("experiments.impressions"), "impressions"),
    count(t("experiments.clicks"), "clicks"),
    { title: t("metric.ctr"), number: true, cell: rate },
    count(t("experiments.reads"), "reads"),
    count(t("experiments.likes"), "likes"),
    { title: t("metric.depth"), number: true, cell: (one) => (one.depth === null ? t("none") : number(one.depth, 1)) },
    { title: "p50", number: true, cell: (one) => milliseconds(one.took_p50_ms) },
    { title: "p95", number: true, cell: (one) => milliseconds(one.took_p95_ms) },
    count(t("experiments.failed"), "failed"),
  ];
  return [el("h2", {}, t("experiments.days")), table(columns, days)];
}
