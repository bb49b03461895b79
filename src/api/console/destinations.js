// Where requests go, and how it is going: what is on its way, what waits, whether the breaker is open. As the asked worker sees it.

import { at, get } from "./api.js";
import { h } from "./dom.js";
import { bar, mark, nothing, number, region, table } from "./parts.js";

const EVERY_MS = 2000;
/** `[word, kind of mark, what it means]` */
const BREAKERS = {
  closed: ["closed", "open", "takes requests"],
  half_open: ["half open", "waits", "is being tried again"],
  open: ["open", "shut", "halted: it failed again and again"],
};

export function destinations(page) {
  const { place } = region(page.signal, async (signal) => drawn((await get(at("destinations"), {}, signal)).destinations), {
    every: EVERY_MS,
    label: "Looking",
  });
  return [
    h("h1", page.title("Destinations")),
    h("p", { class: "muted" }, "As the worker that answers this page sees them; limits hold over all workers."),
    place,
  ];
}

function drawn(list) {
  if (list.length === 0)
    return nothing(
      "No destinations yet.",
      "Every host that a running campaign calls appears here; a definition of kind ",
      h("code", "destination"),
      " gives one limits, credentials and retries of its own.",
    );
  const columns = [
    ["Destination", "wide"],
    ["Health", "wide"],
    ["In flight", "number"],
    ["Slots", "bars"],
    ["Waiting", "number"],
    ["Rate", ""],
  ];
  return h("div", { class: "sheet" }, table("Destinations", columns, list.map(row), { stack: true }));
}

function row({ name, hosts, in_flight, max_in_flight, waiting, breaker, rate }) {
  const [word, kind, meaning] = BREAKERS[breaker] ?? [breaker, "", ""];
  const others = (hosts ?? []).filter((host) => host !== name);
  return [
    h("div", { class: "named" }, h("b", name), others.length > 0 && h("small", h("code", others.join(", ")))),
    [mark(`breaker ${word}`, kind), h("small", meaning)],
    `${number(in_flight)} of ${number(max_in_flight)}`,
    bar(in_flight, max_in_flight, "on"),
    h("span", { class: waiting > 0 ? "waits" : "" }, number(waiting)),
    rate ? `${number(rate.per_second)}/s${rate.burst ? `, burst ${number(rate.burst)}` : ""}` : "no limit",
  ];
}
