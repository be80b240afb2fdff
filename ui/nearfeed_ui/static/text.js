// What the page says, in the reader's language; times and numbers as they are written there.

import { en } from "./words/en.js";
import { ko } from "./words/ko.js";

const WORDS = { en, ko };
const KEPT = "nearfeed-language";
let language = chosen();

export const LANGUAGES = { en: "English", ko: "한국어" };

function chosen() {
  const kept = localStorage.getItem(KEPT);
  if (kept in WORDS) return kept;
  return navigator.languages.some((tag) => tag.split("-")[0] === "ko") ? "ko" : "en";
}

export function currentLanguage() {
  return language;
}

export function setLanguage(next) {
  language = next;
  localStorage.setItem(KEPT, next);
  document.documentElement.lang = next;
}

/** The words of a key, with `{name}` replaced from `values`. */
export function t(key, values = {}) {
  const words = WORDS[language][key];
  if (words === undefined) throw new Error(`no words for ${key}`);
  return words.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export function number(value, digits = 0) {
  const options = { maximumFractionDigits: digits, minimumFractionDigits: digits };
  return new Intl.NumberFormat(language, options).format(value);
}

export function percent(value, digits = 0) {
  const options = { style: "percent", maximumFractionDigits: digits, minimumFractionDigits: digits };
  return new Intl.NumberFormat(language, options).format(value);
}

export function day(iso) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(new Date(iso));
}

export function moment(iso) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
}

export function clock(iso) {
  return new Intl.DateTimeFormat(language, { timeStyle: "short" }).format(new Date(iso));
}

export function milliseconds(value) {
  return value === null ? t("none") : `${number(value, value < 10 ? 1 : 0)} ms`;
}
