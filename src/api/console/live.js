// The live tail: decisions, attempts and conversions as they are written. It follows from now on and keeps the last few hundred.

import { at, listen } from "./api.js";
import { fill, h, link, to } from "./dom.js";
import { button, field, mark, nothing, number, select, time } from "./parts.js";
import * as words from "./words.js";

const KEPT = 300;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const KINDS = [
  ["", "everything"],
  ["sent", "sent"],
  ["suppressed", "held back"],
  ["deferred", "deferred"],
  ["attempt", "attempts"],
  ["failed", "failed"],
  ["conversion", "conversions"],
];

export function live(page) {
  /** The newest first. */
  const lines = [];
  /** What is looked at while it is paused. */
  let frozen = null;
  let unseen = 0;
  let planned = false;
  const list = h("ol", { class: "tail", "aria-label": "Decisions, newest first" });
  const state = h("p", { class: "line muted", role: "status" });
  const empty = h("div");
  const lost = h("p", { class: "waits" });
  const wanted = h("input", {
    type: "search",
    value: page.query.get("q") ?? "",
    placeholder: "user, campaign, reason",
    on: { input: chosen },
  });
  const kind = select(KINDS, page.query.get("kind") ?? "", chosen);
  const pause = button(
    "Pause",
    () => {
      frozen = frozen ? null : [...lines];
      pause.setAttribute("aria-pressed", String(frozen !== null));
      unseen = 0;
      draw();
    },
    { "aria-pressed": "false" },
  );
  const clear = button(
    "Clear",
    () => {
      lines.length = 0;
      if (frozen) frozen = [];
      draw();
    },
    { class: "quiet" },
  );

  function chosen() {
    page.replaceQuery({ q: wanted.value, kind: kind.value });
    draw();
  }

  function heard(name, data) {
    if (name === "dropped") return void fill(lost, `Too fast to follow: ${number(Number(data))} lines were left out.`);
    lines.unshift(JSON.parse(data));
    lines.length = Math.min(lines.length, KEPT);
    unseen += 1;
    plan();
  }

  /** However fast they come, it is drawn once a frame. */
  function plan() {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      if (frozen) pause.textContent = `Go on (${number(unseen)} new)`;
      else draw();
    });
  }

  function draw() {
    const known = frozen ?? lines;
    const text = wanted.value.trim().toLowerCase();
    const shown = known.filter((line) => fits(line, kind.value, text));
    pause.textContent = frozen ? "Go on" : "Pause";
    fill(list, shown.map(row));
    fill(
      empty,
      shown.length === 0 &&
        (known.length === 0
          ? nothing("Nothing yet.", "Decisions appear here as they are made. Send an event that a running campaign waits for.")
          : nothing("None of the last ones fits.", "Ask for less.")),
    );
  }

  follow(page.signal, heard, (connected, words) =>
    fill(state, mark(connected ? "connected" : "waiting", connected ? "open" : "waits"), h("span", words)),
  );
  draw();
  return [
    h("h1", page.title("Live")),
    h(
      "form",
      { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
      field("Find", wanted),
      field("Show", kind),
      h("div", { class: "buttons" }, pause, clear),
    ),
    state,
    lost,
    empty,
    list,
  ];
}

/** Listens until the page is left; comes back by itself. */
async function follow(signal, heard, told) {
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    told(false, "connecting");
    let why = "the stream ended";
    try {
      const opened = () => {
        wait = FIRST_WAIT_MS;
        told(true, `the last ${KEPT} are kept`);
      };
      await listen(at("tail"), signal, opened, (name, data) => {
        if (name === "ended") throw new Error(data);
        heard(name, data);
      });
    } catch (error) {
      if (signal.aborted) return;
      why = error.message;
    }
    told(false, `${why}; trying again in ${wait / 1000} s`);
    await pauseFor(wait, signal);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

function pauseFor(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

function fits(line, kind, text) {
  const kinds = [line.type, line.outcome, line.result];
  if (kind && !kinds.includes(kind)) return false;
  return (
    !text ||
    [line.user_id, line.campaign, line.reason, line.result, line.cause, line.destination].some((part) => part?.toLowerCase().includes(text))
  );
}

function row(line) {
  const [word, kind, detail] = told(line);
  return h(
    "li",
    time(line.at),
    mark(word, kind),
    h("span", link(line.campaign, "campaigns", line.campaign)),
    h("span", line.user_id ? link(line.user_id, "users", line.user_id) : null),
    h(
      "span",
      { class: "muted" },
      detail,
      line.outcome === "suppressed" && [
        " ",
        h("a", { href: `${to("users", line.user_id)}?campaign=${encodeURIComponent(line.campaign)}` }, "why?"),
      ],
    ),
  );
}

/** `[word, kind of mark, detail]` */
function told(line) {
  switch (line.type) {
    case "attempt": {
      const answer = line.status ? `answered ${line.status}` : (line.cause ?? "no answer");
      return [line.result, line.result, `attempt ${line.attempt} at ${line.destination}: ${answer}, ${number(line.latency_ms)} ms`];
    }
    case "conversion":
      return ["converted", "delivered", line.arm === "control" ? "without having got it (control group)" : "after having got it"];
    default:
      if (line.outcome === "sent") return ["sent", "sent", `because of ${line.event_id}`];
      if (line.outcome === "deferred")
        return ["deferred", "waits", [words.reason(line.reason), line.until && [", until ", time(line.until)]]];
      return ["held back", "held", [words.reason(line.reason), words.rule(line.rule)].filter(Boolean).join(": ")];
  }
}
