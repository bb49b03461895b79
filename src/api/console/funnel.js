// The funnel of a campaign, or of all: what became of what matched. A table with bars, so that the numbers are there for everybody.

import { h, svg } from "./dom.js";
import { bar, number, percent } from "./parts.js";

/** `[count, what goes on, is held back or is bad, what is counted]`, in the order of the gates: as the worker names and counts them. */
const STAGES = [
  ["matched", "on", "decisions that came to an end: sent, or held back"],
  ["in_audience", "on", "those of them that got past the audience, and what is judged before it"],
  ["control", "held", "held out as control group"],
  ["duplicate", "held", "held back because the campaign had reached the user: already_sent, resend_wait"],
  ["capped", "held", "held back by a frequency cap"],
  ["deferred", "held", "decisions that were put off; each is matched when it comes to an end"],
  ["sent", "on", "messages decided, once each however often they are tried"],
  ["delivered", "on", "messages that an endpoint took"],
  ["failed", "bad", "messages given up, now dead letters"],
  ["suppressed", "held", "all that was held back, for whatever reason"],
];

/** `in_audience` as a heading: In audience. */
const title = (key) => (key[0].toUpperCase() + key.slice(1)).replaceAll("_", " ");

export function funnel(totals) {
  const whole = Math.max(...STAGES.map(([key]) => totals[key] ?? 0));
  const row = ([key, kind, meaning]) =>
    h(
      "tr",
      { class: kind === "bad" && !totals[key] ? "on" : kind },
      h("th", { scope: "row", title: meaning }, title(key)),
      h("td", { class: "number" }, number(totals[key] ?? 0)),
      h("td", { class: "number share" }, percent(totals[key] ?? 0, totals.matched)),
      h("td", { class: "bars" }, bar(totals[key] ?? 0, whole, kind)),
    );
  return h(
    "table",
    { class: "funnel" },
    h("caption", { class: "unseen" }, "Funnel"),
    h(
      "thead",
      { class: "unseen" },
      h(
        "tr",
        ["Stage", "Count", "Share of matched", "Bar"].map((title) => h("th", { scope: "col" }, title)),
      ),
    ),
    h("tbody", STAGES.map(row)),
  );
}

/** Four steps, for a row of the list; the numbers stand beside it. */
export function smallFunnel(totals) {
  const steps = ["matched", "in_audience", "sent", "delivered"].map((key) => totals[key] ?? 0);
  const whole = Math.max(...steps);
  const step = (value, index) => {
    const height = whole > 0 && value > 0 ? Math.max(2, (value / whole) * 20) : 1;
    return svg("rect", { class: value > 0 ? "fill" : "rail", x: index * 14, y: 20 - height, width: 11, height, rx: 1.5 });
  };
  return svg(
    "svg",
    { class: "small-funnel", viewBox: "0 0 53 20", width: 53, height: 20, "aria-hidden": "true", focusable: "false" },
    steps.map(step),
  );
}
