// Dead letters: what finally failed, or could not be read, with its cause; and sending it again.

import { at, get, post } from "./api.js";
import { fill, h, link } from "./dom.js";
import {
  adminButton,
  button,
  code,
  confirm,
  facts,
  field,
  mark,
  nothing,
  number,
  region,
  say,
  select,
  time,
  whyDisabled,
} from "./parts.js";

const PAGE = 50;
const KINDS = [
  ["", "both"],
  ["delivery", "deliveries that failed"],
  ["event", "events that could not be read"],
];
const FILTERS = ["kind", "campaign", "destination", "reason", "since"];

export function dead(page) {
  const input = (name, attributes = {}) =>
    h("input", { name, value: page.query.get(name) ?? "", autocomplete: "off", spellcheck: "false", autocapitalize: "off", ...attributes });
  const kind = select(KINDS, page.query.get("kind") ?? "");
  kind.name = "kind";
  const wanted = () => Object.fromEntries(FILTERS.map((name) => [name, form.elements.namedItem(name).value.trim()]));
  const look = (event) => {
    event.preventDefault();
    page.replaceQuery(wanted());
    refresh();
  };
  const form = h(
    "form",
    { class: "filters", role: "search", on: { submit: look } },
    field("Kind", kind),
    field("Campaign", input("campaign")),
    field("Destination", input("destination")),
    field("Reason", input("reason", { placeholder: "http 503" })),
    field("Since", input("since", { type: "datetime-local", step: 1 })),
    h("button", { type: "submit", class: "primary" }, "Look"),
  );
  const { place, refresh } = region(page.signal, (signal) => listed(asked(wanted()), signal), { label: "Reading the dead letters" });
  return [
    h("h1", page.title("Dead letters")),
    form,
    h(
      "p",
      { class: "buttons" },
      adminButton("Send again …", () => redrive(wanted(), refresh)),
    ),
    whyDisabled(),
    place,
  ];
}

/** The field has the local time; the worker is told the instant. */
function asked(wanted) {
  return { ...wanted, since: wanted.since ? new Date(wanted.since).toISOString() : "" };
}

async function listed(query, signal) {
  const records = [];
  const place = h("div");
  await more(null);
  return place;

  /** A page may be empty and not the last: what was asked for lies further back. */
  async function more(cursor) {
    let page = { records: [], next: cursor };
    do {
      page = await get(at("dead"), { ...query, limit: PAGE, cursor: page.next }, signal);
    } while (page.records.length === 0 && page.next);
    records.push(...page.records);
    fill(
      place,
      drawn(records, Object.values(query).some(Boolean)),
      page.next &&
        h(
          "p",
          button("Show more", () => more(page.next)),
        ),
    );
  }
}

function drawn(records, filtered) {
  if (records.length === 0) {
    return filtered
      ? nothing("None fits.", "Ask for less.")
      : nothing("No dead letters.", "What finally fails, or cannot be read, waits here to be looked at and sent again.");
  }
  return h("ul", { class: "letters" }, records.map(letter));
}

function letter(record) {
  const { at, kind, reason, error, campaign, user_id, status, attempts, position } = record;
  return h(
    "li",
    h(
      "details",
      h(
        "summary",
        time(at),
        " ",
        mark(reason, "failed"),
        " ",
        h("span", campaign ?? kind),
        " ",
        h("span", { class: "muted" }, user_id ?? position ?? ""),
      ),
      h("p", error),
      facts(
        ["Campaign", campaign && link(campaign, "campaigns", campaign)],
        ["User", user_id && link(user_id, "users", user_id)],
        ["Delivery", record.delivery_id && h("code", record.delivery_id)],
        ["Attempts", number(attempts)],
        ["Last status", status],
        ["Came from", record.topic && h("code", `${record.topic}/${record.partition}/${record.offset}`)],
        ["Position", position && h("code", position)],
      ),
      record.request ? code(written(record.request)) : record.value && code(decoded(record.value)),
    ),
  );
}

/** A request as it goes over the wire, secrets by their names. */
function written({ method, url, headers, body }) {
  const head = Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}`);
  return [`${method} ${url}`, ...head, ...(body ? ["", body] : [])].join("\n");
}

/** The bytes of an event as text, as far as they are text. */
function decoded(base64) {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  return new TextDecoder().decode(bytes);
}

function redrive(filter, done) {
  const perSecond = h("input", { type: "number", min: 0.001, step: "any", inputmode: "decimal" });
  const { kind, ...wanted } = asked(filter);
  const named = Object.entries(wanted).filter(([, value]) => value);
  const which =
    named.length > 0
      ? h(
          "ul",
          named.map(([name, value]) => h("li", `${name}: `, h("b", value))),
        )
      : h("p", { class: "warning" }, "No filter is set: all of them.");
  const body = [
    h(
      "p",
      "Deliveries that finally failed are tried again with the same ",
      h("code", "webhook-id"),
      ". What is delivered already is skipped, so twice is harmless.",
    ),
    which,
    field("At most so many a second", perSecond, "left empty: as fast as the destinations take them"),
  ];
  /** The worker answers now and then how far it has come; closing the dialog leaves the rest. */
  const perform = async ({ signal, told }) => {
    let [redriven, cursor] = [0, null];
    const skipped = {};
    do {
      const asked = {
        ...Object.fromEntries(named),
        ...(perSecond.value && { per_second: Number(perSecond.value) }),
        ...(cursor && { cursor }),
      };
      const part = await post(at("dead", "redrive"), asked, { signal });
      redriven += part.redriven;
      for (const [why, count] of Object.entries(part.skipped ?? {})) skipped[why] = (skipped[why] ?? 0) + count;
      cursor = part.next;
      told(`${number(redriven)} sent again so far …`);
    } while (cursor);
    const rest = Object.entries(skipped).map(([why, count]) => `${number(count)} skipped (${why})`);
    say([`${number(redriven)} sent again`, ...rest].join(", "));
    done();
  };
  confirm({ title: "Send dead letters again?", body, action: "Send again", perform });
}
