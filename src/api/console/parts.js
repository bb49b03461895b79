// What every view is put together from: parts that load themselves, dialogs, tables, times, marks. They know nothing of campaigns.

import { session } from "./api.js";
import { fill, h, svg } from "./dom.js";

/** Shown only when an answer takes longer than this: a flash of "loading" is noise. */
const LOADING_AFTER_MS = 200;

/**
 * A part of a page that fills itself with what `load` makes, says that it is loading, and tells what went wrong with a way to
 * try again. `every` (milliseconds) loads it again as long as the page is looked at. `signal` ends all of it.
 */
export function region(signal, load, { every = null, label = "Loading" } = {}) {
  const place = h("div", { class: "region" });
  let current = null;
  let timer = null;

  async function refresh() {
    clearTimeout(timer);
    current?.abort();
    current = new AbortController();
    const ours = AbortSignal.any([signal, current.signal]);
    const empty = place.childElementCount === 0;
    const slow = setTimeout(() => empty && fill(place, loading(label)), LOADING_AFTER_MS);
    place.setAttribute("aria-busy", "true");
    try {
      const content = await load(ours);
      if (ours.aborted) return;
      keepingFocus(place, () => fill(place, content));
    } catch (error) {
      if (ours.aborted) return;
      fill(place, trouble(error, refresh));
    } finally {
      clearTimeout(slow);
    }
    place.removeAttribute("aria-busy");
    if (every !== null) timer = setTimeout(whenSeen, every);
  }

  function whenSeen() {
    if (signal.aborted) return;
    if (document.visibilityState === "visible" && !document.querySelector("dialog[open]")) refresh();
    else timer = setTimeout(whenSeen, every);
  }

  signal.addEventListener("abort", () => clearTimeout(timer));
  refresh();
  return { place, refresh };
}

/** Whoever stood on a link of a part that is drawn anew stands on it again. */
function keepingFocus(place, draw) {
  const active = document.activeElement;
  const href = place.contains(active) ? active.getAttribute("href") : null;
  draw();
  if (href !== null) [...place.querySelectorAll("a")].find((one) => one.getAttribute("href") === href)?.focus();
}

function loading(label) {
  return h("p", { class: "loading", role: "status" }, `${label} …`);
}

/** A refusal in words: what, where, and for definitions each problem with its place. */
export function trouble(error, again = null) {
  // A defect of the console itself should not look like an answer of the worker.
  if (error.status === undefined) console.error(error);
  const title = error.status === undefined ? "The console has a defect" : error.title;
  return h(
    "div",
    { class: "trouble", role: "alert" },
    h("p", h("strong", title), ": ", error.message, error.where ? [" (", h("code", error.where), ")"] : null),
    error.errors?.length > 0 && h("ul", error.errors.map(problemLine)),
    error.retryAfter && h("p", { class: "muted" }, `It asks to be left alone for ${error.retryAfter} s.`),
    again && h("p", button("Try again", again)),
  );
}

function problemLine({ file, line, column, problem, meant }) {
  const place = [file, line, column].filter((part) => part !== null && part !== undefined).join(":");
  return h("li", place && [h("code", place), " "], problem, meant && h("span", { class: "muted" }, ` (did you mean ${meant}?)`));
}

/** What stands where there is nothing yet, and what to do about it. */
export function nothing(title, ...next) {
  return h("div", { class: "nothing" }, h("p", h("strong", title)), next.length > 0 && h("p", next));
}

/** `press` may take its time and may fail: then it is said why. */
export function button(text, press, attributes = {}) {
  const pressed = async () => {
    try {
      await press();
    } catch (error) {
      say(`${error.title ?? "That did not work"}: ${error.message}`);
    }
  };
  return h("button", { type: "button", on: { click: pressed }, ...attributes }, text);
}

export function mayChange() {
  return session.role === "admin";
}

/** A button for the admin; for others it is disabled, and `whyDisabled` beside it says why. */
export function adminButton(text, press, attributes = {}) {
  return button(text, press, mayChange() ? attributes : { ...attributes, disabled: true, "aria-describedby": "may-not" });
}

/** Once a page, beside what is disabled. */
export function whyDisabled() {
  return mayChange() ? null : h("p", { class: "muted", id: "may-not" }, "Your token may only read: this needs the admin token.");
}

/** Says something to everybody, also to those who cannot see it. */
export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  setTimeout(() => place.textContent === text && (place.textContent = ""), 6000);
}

/**
 * Asks before something is done. `body` may be a promise: the button waits for it. `perform` does it; what it throws is shown in
 * the dialog, which stays open. It is given `told`, for how far it has come, and a `signal` that says that the dialog was closed.
 */
export function confirm({ title, body, action, danger = false, perform }) {
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary", disabled: true }, action);
  const content = h("div", loading("Looking"));
  const dialog = h(
    "dialog",
    { "aria-labelledby": "asked" },
    h(
      "form",
      { on: { submit } },
      h("h2", { id: "asked" }, title),
      content,
      h(
        "p",
        { class: "buttons" },
        button("Cancel", () => dialog.close()),
        go,
      ),
    ),
  );
  const problems = h("div");
  const closed = new AbortController();
  const told = (text) => fill(problems, h("p", { class: "muted", role: "status" }, text));

  async function submit(event) {
    event.preventDefault();
    go.disabled = true;
    fill(problems);
    try {
      await perform({ signal: closed.signal, told });
      dialog.close();
    } catch (error) {
      if (closed.signal.aborted) return;
      fill(problems, trouble(error));
      go.disabled = false;
    }
  }

  dialog.addEventListener("close", () => {
    closed.abort();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  Promise.resolve(body).then(
    (shown) => {
      fill(content, shown, problems);
      go.disabled = false;
    },
    (error) => fill(content, trouble(error)),
  );
  return dialog;
}

/**
 * A table that scrolls by itself where the screen is narrow, or, with `stack`, shows each row as a card there. `columns` are
 * `[title, class]`; rows are lists of cells.
 */
export function table(caption, columns, rows, { stack = false } = {}) {
  const cell = (content, index) =>
    h("td", { class: columns[index][1], "data-title": columns[index][0] }, content ?? h("span", { class: "muted" }, "–"));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      { class: stack ? "stack" : null },
      h("caption", { class: "unseen" }, caption),
      h(
        "thead",
        h(
          "tr",
          columns.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)),
        ),
      ),
      h(
        "tbody",
        rows.map((row) => h("tr", row.map(cell))),
      ),
    ),
  );
}

/** Names and values. `null` values are left out. */
export function facts(...pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "dl",
    { class: "facts" },
    known.map(([name, value]) => h("div", h("dt", name), h("dd", value))),
  );
}

const TIMES = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

/** An instant in the zone of who looks; UTC as the title. */
export function time(instant) {
  if (!instant) return null;
  const date = new Date(instant);
  if (Number.isNaN(date.getTime())) return String(instant);
  return h("time", { datetime: instant, title: date.toISOString() }, TIMES.format(date));
}

const NUMBERS = new Intl.NumberFormat("en");

export function number(value) {
  return value === null || value === undefined ? null : NUMBERS.format(value);
}

/** `part` of `whole` in per cent; nothing where there is no whole. */
export function percent(part, whole) {
  if (!whole) return "";
  const value = (part / whole) * 100;
  return `${value >= 10 || value === 0 ? Math.round(value) : value.toFixed(1)} %`;
}

/** A bar of `part` of `whole`. The numbers stand beside it. */
export function bar(part, whole, kind = "") {
  const width = whole > 0 ? Math.min(100, (part / whole) * 100) : 0;
  return svg(
    "svg",
    { class: `bar ${kind}`, "aria-hidden": "true", focusable: "false" },
    svg("rect", { class: "rail", width: "100%", height: "100%", rx: 2 }),
    part > 0 && svg("rect", { class: "fill", width: `${Math.max(width, 1)}%`, height: "100%", rx: 2 }),
  );
}

/** A status or a result: a colour and always the word. */
export function mark(word, kind = word) {
  return h("span", { class: `mark ${kind}` }, word);
}

/** Text in a box, with a button that copies it. */
export function code(text, { label = "Copy", lines = null } = {}) {
  const copy = button(label, async () => {
    await navigator.clipboard.writeText(text);
    say("copied");
  });
  return h("div", { class: "code" }, h("pre", { tabindex: "0" }, h("code", lines ?? text)), copy);
}

/** A value of JSON, short. */
export function value(json) {
  return h("code", typeof json === "string" ? json : JSON.stringify(json));
}

/** A field with its label. `hint` stands below. */
export function field(label, control, hint = null) {
  const id = (control.id ||= `f${++fields}`);
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h("p", { class: "field" }, h("label", { for: id }, label), control, hint && h("small", { id: `${id}-hint` }, hint));
}

let fields = 0;

export function select(options, chosen, change = null) {
  const made = options.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  return h("select", { on: change ? { change } : {} }, made);
}
