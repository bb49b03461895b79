// The funnel of a campaign, or of all: what became of what matched. A table with bars, so that the numbers are there for everybody.

import { h, svg } from "./dom.js";
import { bar, number, percent } from "./parts.js";

/** In the order of the gates: what goes on, what is held back, what failed. */
const STAGES = [
  ["matched", "Matched", "on", "inputs that the trigger took"],
  ["in_audience", "In audience", "on", "of them, users who belong to it"],
  ["control", "Control group", "held", "held out to compare with"],
  ["duplicate", "Duplicate", "held", "had it already, or too recently"],
  ["capped", "Capped", "held", "had enough messages for now"],
  ["deferred", "Deferred", "held", "wait for a cap or for the end of quiet hours"],
  ["sent", "Sent", "on", "handed to the delivery"],
  ["delivered", "Delivered", "on", "answered with 2XX"],
  ["failed", "Failed", "bad", "given up, now dead letters"],
];

export function funnel(totals) {
  const whole = Math.max(...STAGES.map(([key]) => totals[key] ?? 0));
  const row = ([key, title, kind, meaning]) =>
    h(
      "tr",
      { class: kind === "bad" && !totals[key] ? "on" : kind },
      h("th", { scope: "row", title: meaning }, title),
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
