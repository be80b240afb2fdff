// Tables of text and numbers.

import { el } from "./dom.js";

/** `columns` are {title, number?, cell(row)}; a cell is text, a node or several. */
export function table(columns, rows) {
  const kind = (column) => (column.number ? "number" : null);
  const head = el("tr", {}, ...columns.map((column) => el("th", { class: kind(column), scope: "col" }, column.title)));
  const body = rows.map((row) => el("tr", {}, ...columns.map((column) => el("td", { class: kind(column) }, column.cell(row)))));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
}
