// How a campaign does: funnel, what held it back, what failed, day by day, and what came of it.

import { at, get } from "./api.js";
import { h } from "./dom.js";
import { funnel } from "./funnel.js";
import { bar, field, nothing, number, percent, region, select, table, time } from "./parts.js";
import * as words from "./words.js";

const EVERY_MS = 5000;
const DAY_MS = 86_400_000;
/** `[days with today, title]`; days are those of UTC, as the worker counts. */
const PERIODS = [
  ["", "all the time"],
  ["1", "today (UTC)"],
  ["7", "7 days"],
  ["30", "30 days"],
  ["90", "90 days"],
];

export function numbers(page) {
  const period = select(PERIODS, page.query.get("days") ?? "", () => {
    page.replaceQuery({ days: period.value });
    refresh();
  });
  const { place, refresh } = region(page.signal, async (signal) => drawn(await stats(page.key, period.value, signal)), {
    every: EVERY_MS,
    label: "Counting",
  });
  return h("section", { class: "card" }, h("div", { class: "row" }, h("h2", "How it does"), field("Period", period)), place);
}

function stats(key, days, signal) {
  const from = days ? new Date(Date.now() - (Number(days) - 1) * DAY_MS).toISOString().slice(0, 10) : null;
  return get(at("campaigns", key, "stats"), { from }, signal);
}

function drawn({ totals, reasons, failed_by, by_day, conversions, as_of }) {
  if (!totals.matched && !totals.sent) {
    return nothing(
      "Nothing has matched in this time.",
      "When it is running, its funnel appears here with the first event that triggers it.",
    );
  }
  return [
    funnel(totals),
    counts("Held back by", reasons, words.reason, totals.matched),
    counts("Failed by", failed_by, (cause) => cause, totals.failed),
    outcome(conversions),
    days(by_day ?? []),
    as_of && h("p", { class: "muted small" }, "Last counted ", time(as_of)),
  ];
}

function counts(title, map, word, whole) {
  const entries = Object.entries(map ?? {}).sort(([, a], [, b]) => b - a);
  if (entries.length === 0) return null;
  const row = ([code, count]) => [h("span", { title: code }, word(code)), number(count), h("small", percent(count, whole))];
  return [
    h("h3", title),
    table(
      title,
      [
        ["Cause", "wide"],
        ["Count", "number"],
        ["Share", "number"],
      ],
      entries.map(row),
    ),
  ];
}

function outcome(conversions) {
  const { treatment, control, lift } = conversions ?? {};
  if (!treatment?.conversions && !control?.conversions) return null;
  const row = (name, arm) => [name, number(arm.users), number(arm.conversions), arm.users ? `${(arm.rate * 100).toFixed(1)} %` : null];
  const rows = [row("got it", treatment), control && row("control group", control)].filter(Boolean);
  const effect =
    lift === null || lift === undefined
      ? null
      : h("p", "Lift over the control group: ", h("b", `${lift >= 0 ? "+" : ""}${(lift * 100).toFixed(1)} %`));
  return [
    h("h3", "Reached the goal"),
    table(
      "Reached the goal",
      [
        ["Arm", "wide"],
        ["Exposures", "number"],
        ["Conversions", "number"],
        ["Rate", "number"],
      ],
      rows,
    ),
    effect,
  ];
}

function days(by_day) {
  if (by_day.length < 2) return null;
  const most = Math.max(...by_day.map((day) => day.sent));
  const row = (day) => [
    day.day,
    number(day.matched),
    number(day.sent),
    number(day.delivered),
    number(day.failed),
    bar(day.sent, most, "on"),
  ];
  const columns = [
    ["Day", "day"],
    ["Matched", "number"],
    ["Sent", "number"],
    ["Delivered", "number"],
    ["Failed", "number"],
    ["Sent", "bars"],
  ];
  return [h("h3", "Day by day"), table("Day by day", columns, [...by_day].reverse().map(row))];
}
