// Calls to the service that served this page, and to no other.

import { askKey, currentKey } from "./key.js";
import { t } from "./text.js";

/** What the service has refused, as it told it: `status`, the message, and `fields` at fault. */
export class ApiError extends Error {
  constructor(status, detail, fields = []) {
    super(detail);
    this.status = status;
    this.fields = fields;
  }
}

export const get = (path, query) => call("GET", path, { query });
export const post = (path, body, query) => call("POST", path, { body, query });
export const put = (path, body, query) => call("PUT", path, { body, query });
export const remove = (path, query) => call("DELETE", path, { query });

/** A path below /v1 from parts that may hold anything. */
export function path(...parts) {
  return `/v1/${parts.map(encodeURIComponent).join("/")}`;
}

async function call(method, address, { query = {}, body } = {}) {
  const answer = await asked(method, address, query, body);
  if (answer.status === 401 && (await askKey())) return call(method, address, { query, body });
  if (answer.ok) return answer.status === 204 ? null : read(answer);
  throw await refusal(answer);
}

async function asked(method, address, query, body) {
  const url = new URL(address, location.origin);
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined) url.searchParams.append(name, one);
  }
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (currentKey()) headers.Authorization = `Bearer ${currentKey()}`;
  try {
    return await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ApiError(0, t("unreachable"));
  }
}

async function read(answer) {
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 403) return new ApiError(403, t("forbidden", { detail: problem.detail ?? "" }));
  return new ApiError(answer.status, problem.detail ?? `${answer.status}`, problem.errors ?? []);
}
