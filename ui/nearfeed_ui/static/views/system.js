// How the installation does: back ends, topics, spaces, and the calls of the last hour.

import { get } from "../api.js";
import { attempt } from "../attempt.js";
import { lineChart } from "../chart.js";
import { el, written } from "../dom.js";
import { table } from "../table.js";
import { milliseconds, moment, number, t } from "../text.js";

const EVERY = 5000;

export function openSystem(root) {
  const tiles = el("div", { class: "tiles" });
  const topics = el("section", { class: "panel topics-lag" });
  const spaces = el("section", { class: "panel spaces" });
  const routes = el("section", { class: "panel routes" });
  const calls = lineChart(t("system.calls"), (value) => number(value), { whole: true });
  const times = lineChart(t("system.times"), milliseconds);
  let timer = 0;
  let closed = false;

  async function load() {
    const found = document.hidden ? undefined : await attempt(() => get("/v1/admin/system"));
    if (closed) return;
    if (found) draw(found);
    timer = setTimeout(load, EVERY);
  }

  function draw(found) {
    tiles.replaceChildren(...tilesOf(found));
    topics.replaceChildren(el("h2", {}, t("system.topics")), topicsOf(found.topics));
    spaces.replaceChildren(el("h2", {}, t("system.spaces")), spacesOf(found.spaces));
    const minutes = found.minutes.map((minute) => ({ ...minute, at: Date.parse(minute.at) }));
    const line = (name, key) => ({ name, points: minutes.map((minute) => ({ at: minute.at, y: minute[key] })) });
    calls.update([line(t("system.calls"), "calls"), line(t("system.failed"), "failed")]);
    times.update([line("p50", "p50_ms"), line("p95", "p95_ms"), line("p99", "p99_ms")]);
    routes.replaceChildren(el("h2", {}, t("system.routes")), routesOf(found.routes));
  }

  const charts = el("div", { class: "two" }, calls.node, times.node);
  root.append(tiles, topics, spaces, charts, routes, el("p", { class: "hint" }, t("system.process")));
  load();
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}

function tilesOf(found) {
  const active = found.spaces.find((space) => space.active);
  const checks = Object.entries(found.checks).map(([name, answers]) =>
    tile(t(`system.check.${name}`), el("strong", { class: answers ? "up" : "down" }, t(answers ? "system.up" : "system.down"))),
  );
  return [
    ...checks,
    tile(t("system.active"), el("strong", {}, active ? written(active.space) : t("none"))),
    tile(t("system.config"), el("strong", {}, number(found.config_version))),
    tile(t("system.version"), el("strong", {}, found.version)),
  ];
}

function tile(title, value) {
  return el("div", { class: "tile" }, value, el("span", {}, title));
}

function topicsOf(topics) {
  if (topics === null) return el("p", { class: "warning" }, t("system.nolog"));
  const rows = topics.flatMap((topic) =>
    (topic.groups.length ? topic.groups : [null]).map((group) => ({ topic, group })),
  );
  return table(
    [
      { title: t("system.topic"), cell: (row) => written(row.topic.topic) },
      { title: t("system.end"), number: true, cell: (row) => number(row.topic.end) },
      { title: t("system.group"), cell: (row) => (row.group ? written(row.group.group) : t("none")) },
      { title: t("system.behind"), number: true, cell: (row) => (row.group ? number(row.group.behind) : t("none")) },
    ],
    rows,
  );
}

function spacesOf(spaces) {
  return table(
    [
      { title: t("system.space"), cell: (space) => written(space.space) },
      { title: t("system.state"), cell: (space) => t(space.active ? "space.active" : `space.state.${space.state}`) },
      { title: t("system.model"), cell: (space) => written(space.model) },
      { title: t("system.rows"), number: true, cell: (space) => number(space.rows.vectors ?? 0) },
      { title: t("system.readers"), number: true, cell: (space) => (space.readers === null ? t("none") : number(space.readers)) },
      { title: "recall@20", number: true, cell: (space) => metric(space, "recall@20") },
      { title: "NDCG@20", number: true, cell: (space) => metric(space, "ndcg@20") },
      { title: t("system.made"), cell: (space) => moment(space.created_at) },
    ],
    spaces,
  );
}

/** The run's own measure, where its writer has stated one as a mean over readers. */
function metric(space, name) {
  const mean = space.metrics?.models?.[space.model]?.[name]?.mean;
  return typeof mean === "number" ? number(mean, 4) : t("none");
}

function routesOf(routes) {
  if (!routes.length) return el("p", { class: "hint" }, t("chart.empty"));
  const time = (name) => ({ title: name, number: true, cell: (route) => milliseconds(route[`${name}_ms`]) });
  return table(
    [
      { title: t("system.route"), cell: (route) => `${route.method} ${route.route}` },
      { title: t("system.total"), number: true, cell: (route) => number(route.calls) },
      { title: t("system.failed"), number: true, cell: (route) => number(route.failed) },
      time("p50"),
      time("p95"),
      time("p99"),
    ],
    routes,
  );
}
