// Users: finding one, what is known of them and under way for them, and why they did, or did not, get a campaign.

import { at, get } from "./api.js";
import { h, link, to } from "./dom.js";
import { facts, field, mark, nothing, number, region, select, table, time, value } from "./parts.js";
import * as words from "./words.js";

export function users(page) {
  const [id] = page.parts;
  if (!id)
    return [
      h("h1", page.title("Users")),
      finder(""),
      nothing("Whom are you looking for?", "Give the user id that your events carry. Who got a campaign stands in the campaign."),
    ];
  const { place } = region(page.signal, async (signal) => drawn(await get(at("users", id), {}, signal), page), {
    label: "Loading the user",
  });
  return [h("p", { class: "way" }, link("Users", "users"), " /"), h("h1", page.title(id)), finder(id), place];
}

function finder(id) {
  const input = h("input", { type: "search", value: id, required: true, autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
  const find = (event) => {
    event.preventDefault();
    if (input.value.trim()) location.hash = to("users", input.value.trim());
  };
  return h(
    "form",
    { class: "filters", role: "search", on: { submit: find } },
    field("User id", input),
    h("button", { type: "submit", class: "primary" }, "Look up"),
  );
}

function drawn(user, page) {
  const traits = Object.entries(user.traits);
  const deleted =
    user.deleted && h("p", { class: "warning" }, "Deleted at ", time(user.deleted), ". Late events of before are still refused.");
  return h(
    "div",
    { class: "two" },
    h(
      "div",
      deleted,
      explainer(page),
      card(
        "Got",
        user.exposures,
        [
          ["Campaign", "wide"],
          ["Arm", ""],
          ["Times", "number"],
          ["Last", ""],
        ],
        ({ campaign, arm, times, last }) => [of(campaign), mark(arm), number(times), time(last)],
        "No campaign has reached this user.",
      ),
      card(
        "Timers",
        user.timers,
        [
          ["Campaign", "wide"],
          ["What", ""],
          ["Because of", ""],
          ["Due", ""],
        ],
        ({ campaign, what, event, due }) => [of(campaign), what, event || null, time(due)],
        "No clock is running.",
      ),
      card(
        "Under way",
        user.pending,
        [
          ["Campaign", "wide"],
          ["Phase", ""],
          ["Attempt", "number"],
          ["Until", ""],
          ["Expires", ""],
        ],
        ({ campaign, phase, attempt, until, expires }) => [of(campaign), mark(phase), number(attempt), time(until), time(expires)],
        "Nothing is being delivered.",
      ),
    ),
    h(
      "div",
      h(
        "section",
        { class: "card" },
        h("h2", "Profile"),
        facts(
          ["Zone", user.timezone],
          ["Anonymous id", user.anonymous_id && h("code", user.anonymous_id)],
          ["Cohorts", cohorts(user.cohorts)],
        ),
        traits.length > 0
          ? table(
              "Traits",
              [
                ["Trait", ""],
                ["Value", "wide"],
              ],
              traits.map(([name, trait]) => [h("code", name), value(trait)]),
            )
          : nothing("No traits.", "An identify brings them."),
      ),
      card(
        "History",
        user.history,
        [
          ["What", "wide"],
          ["Known", ""],
        ],
        ({ what, value: known }) => [what, known],
        "Nothing is remembered: only what definitions ask for is.",
      ),
    ),
  );
}

/** A campaign that is not in force any more has no page, and its name stands in brackets. */
function of(campaign) {
  return campaign.startsWith("(") ? campaign : link(campaign, "campaigns", campaign);
}

function cohorts(known) {
  if (known.length === 0) return "none";
  return known.map((name) => h("span", { class: "tag" }, name));
}

function card(title, list, columns, row, empty) {
  const content = list.length > 0 ? table(title, columns, list.map(row), { stack: true }) : h("p", { class: "muted" }, empty);
  return h("section", { class: "card" }, h("h2", title), content);
}

/** Picks a campaign and goes through its gates for this user. */
function explainer(page) {
  const [id] = page.parts;
  const chosen = () => page.query.get("campaign") ?? "";
  const choice = region(page.signal, async (signal) => {
    const { campaigns } = await get(at("campaigns"), {}, signal);
    if (campaigns.length === 0) return nothing("There are no campaigns.", "Apply one first.");
    const options = [["", "choose a campaign"], ...campaigns.map(({ key, title }) => [key, title || key])];
    const campaign = select(options, chosen(), () => {
      page.query.set("campaign", campaign.value);
      page.replaceQuery({ campaign: campaign.value });
      answer.refresh();
    });
    return field("Campaign", campaign);
  });
  const answer = region(page.signal, async (signal) => {
    if (!chosen()) return h("p", { class: "muted" }, "Choose a campaign: every gate is shown with what it compared.");
    return explained(await get(at("users", id, "explain"), { campaign: chosen() }, signal));
  });
  return h("section", { class: "card" }, h("h2", "Why, or why not?"), choice.place, answer.place);
}

/** An instant within a sentence: what the worker says has them in UTC. */
const INSTANT = /(\d{4}-\d\d-\d\dT[\d:.]+Z)/;

function explained({ verdict, gates, waiting, next_run, pending, exposures }) {
  const sentence = verdict.split(INSTANT).map((part) => (INSTANT.test(part) ? time(part) : part));
  const stands = [
    ...exposures.map(({ arm, times, last }) => [
      arm === "control" ? "Held out as control, last " : "Sent, last ",
      time(last),
      `, ${times} in all`,
    ]),
    ...waiting.map(({ due, kind, event }) => [
      kind === "deferred" ? "Deferred until " : `Waits (${kind}) until `,
      time(due),
      event ? `, because of ${event}` : "",
    ]),
    ...(next_run ? [["The schedule runs next at ", time(next_run)]] : []),
    ...pending.map(({ phase, attempt, until }) => [`Under way (${phase}, attempt ${attempt}) until `, time(until)]),
  ];
  return [
    h("p", { class: "verdict" }, sentence),
    stands.length > 0 && h("ul", stands.map((line) => h("li", line))),
    h("ol", { class: "gates" }, gates.map(gate)),
  ];
}

/** Before what lies in an `any`, `all`, `not` or cohort: spaces that do not collapse. */
const INDENT = "\u00a0\u00a0\u00a0";

function gate({ gate, verdict, reason, rule, frees, compared }) {
  const detail = [reason && words.reason(reason), words.rule(rule)].filter(Boolean).join(": ");
  const shown = ({ what, value: found, against, holds, unknown, depth }) => [
    INDENT.repeat(depth ?? 0) + what,
    found && h("code", found),
    against && h("code", against),
    unknown ? mark("unknown") : holds === null || holds === undefined ? null : mark(holds ? "yes" : "no", holds ? "open" : "shut"),
  ];
  return h(
    "li",
    { class: verdict },
    h("p", { class: "line" }, h("b", words.gate(gate)), mark(words.passage(verdict), verdict)),
    detail && h("p", detail, frees && [", until ", time(frees)]),
    (compared ?? []).length > 0 &&
      h(
        "details",
        { open: verdict === "shut" },
        h("summary", `${compared.length} compared`),
        table(
          `Compared: ${words.gate(gate)}`,
          [
            ["What", "wide"],
            ["Found", ""],
            ["Wanted", ""],
            ["Holds", ""],
          ],
          compared.map(shown),
        ),
      ),
  );
}
