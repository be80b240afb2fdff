// What the results of an experiment say, in the page's language.

import { currentLanguage, t } from "./text.js";

const HOLDOUT = "holdout";
const BY_GUARDRAIL = /^guardrail (\w+): arm .+, and (\S+) is the most allowed$/;

export function metricName(metric) {
  return t(`metric.${metric}`);
}

/** The service tells it in English; other languages are made from the numbers, by the same rule. */
export function verdictText(results) {
  if (currentLanguage() === "en") return results.verdict;
  if (results.mismatch?.alarm) return t("verdict.mismatch");
  if (results.adaptive) return t("verdict.adaptive");
  const others = results.arms.filter(({ arm }) => arm !== results.control && arm !== HOLDOUT);
  return others.map((arm) => armVerdict(arm, results)).join(" ") || t("verdict.nothing");
}

function armVerdict({ arm, metrics }, { control, metric }) {
  const found = metrics[metric]?.lift ?? metrics[metric]?.difference;
  const told = { arm, control, metric: metricName(metric) };
  if (!found) return t("verdict.little", told);
  if (found.low > 0) return t("verdict.higher", told);
  return t(found.high < 0 ? "verdict.lower" : "verdict.same", told);
}

/** Why an arm was stopped; what somebody has written is told as it is. */
export function stopText(reason) {
  const [, metric, most] = reason.match(BY_GUARDRAIL) ?? [];
  if (currentLanguage() === "en" || !metric) return reason;
  return t("experiments.guardrail", { metric: metricName(metric), most });
}
