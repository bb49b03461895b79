// Trying a campaign: its request for a chosen user and event, as cURL and as a table; and a marked test send with what its answer
// means. Neither counts as a send.

import { Trouble, at, post } from "./api.js";
import { fill, h } from "./dom.js";
import { adminButton, code, confirm, facts, field, mark, number, table, trouble, value, whyDisabled } from "./parts.js";

/** What is written here stays while one looks elsewhere, until the tab is closed. */
const drafts = new Map();

export function tryOut({ key, campaign, query }) {
  const draft = drafts.get(key) ?? { user_id: query.get("user") ?? "", user: "", event: sampleEvent(campaign), links: {} };
  drafts.set(key, draft);
  const keep = (place, name) => ({ on: { input: (event) => (place[name] = event.target.value) } });
  const text = (place, name, rows) => {
    const area = h("textarea", { rows, spellcheck: "false", autocapitalize: "off", ...keep(place, name) });
    area.value = place[name] ?? "";
    return area;
  };
  const userId = h("input", {
    value: draft.user_id,
    autocomplete: "off",
    spellcheck: "false",
    autocapitalize: "off",
    ...keep(draft, "user_id"),
  });
  const stranger = h(
    "details",
    { open: draft.user !== "" },
    h("summary", "Somebody who is not stored"),
    field(
      "An identify, as JSON",
      text(draft, "user", 6),
      `used instead of the user id, such as {"userId": "u1", "traits": {"name": "Mina"}}`,
    ),
  );
  const links = linkNames(campaign).map((name) =>
    field(`What the linked service “${name}” answers, as JSON`, text(draft.links, name, 3), "left empty: nothing could be fetched"),
  );
  const result = h("div", { class: "result", "aria-live": "polite" });

  async function preview(event) {
    event.preventDefault();
    await into(result, async () => drawn(await post(at("campaigns", key, "preview"), asked(draft))));
  }

  function send() {
    const body = () =>
      h(
        "p",
        "One real request goes to ",
        h("b", campaign.destination?.host ?? "the endpoint"),
        ", marked with ",
        h("code", "webhook-test: true"),
        ". Caps and statistics do not see it.",
      );
    const perform = () => into(result, async () => drawn(await post(at("campaigns", key, "test"), asked(draft))), true);
    confirm({ title: "Send a test?", body: body(), action: "Send it", perform });
  }

  const form = h(
    "form",
    { class: "card try", on: { submit: preview } },
    h("h2", "For whom, because of what"),
    field("User id", userId, "a user that is known here"),
    stranger,
    field("The event that triggers it, as JSON", text(draft, "event", 7), "a track; what it says is in the template as event.…"),
    links,
    h("p", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Preview"), adminButton("Send a test …", send)),
    whyDisabled(),
  );
  fill(result, h("p", { class: "muted" }, "The request appears here, with secrets as ***."));
  return h("div", { class: "two try-it" }, form, h("section", { class: "card" }, h("h2", "The request"), result));
}

/** Puts what `make` makes there, or why it could not; `loudly` also tells the caller. */
async function into(place, make, loudly = false) {
  place.setAttribute("aria-busy", "true");
  try {
    fill(place, await make());
  } catch (error) {
    if (loudly) throw error;
    fill(place, trouble(error));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** What is sent to `preview` and `test`. */
function asked({ user_id, user, event, links }) {
  const identify = parsed("the identify", user);
  if (identify === null && user_id.trim() === "") throw new Trouble(422, "say for whom: a user id, or an identify");
  const linked = Object.entries(links)
    .map(([name, text]) => [name, parsed(`the answer of ${name}`, text)])
    .filter(([, json]) => json !== null);
  const body = identify === null ? { user_id: user_id.trim() } : { user: { type: "identify", ...identify } };
  const track = parsed("the event", event);
  if (track !== null) body.event = { type: "track", userId: identify?.userId ?? user_id.trim(), ...track };
  if (linked.length > 0) body.links = Object.fromEntries(linked);
  return body;
}

function parsed(what, text) {
  if (text.trim() === "") return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Trouble(422, `${what} is not JSON: ${error.message}`);
  }
}

/** A track that would trigger it, as far as the definition says; its conditions' properties are there to fill in. */
function sampleEvent({ key, definition }) {
  const { action, actions, inaction, date, api } = definition.trigger;
  if (api) return JSON.stringify({ type: "send", campaign: key, properties: {} }, null, 2);
  const asked = action ?? inaction?.after ?? actions?.events?.at(-1) ?? (date?.event ? date : null);
  if (!asked) return "";
  const properties = Object.fromEntries(Object.entries(asked.where ?? {}).map(([name, wanted]) => [name, example(wanted)]));
  return JSON.stringify({ type: "track", event: asked.event, properties }, null, 2);
}

/** A value that a condition allows, where that is plain to see. */
function example(wanted) {
  if (Array.isArray(wanted)) return wanted[0];
  if (wanted === null || typeof wanted !== "object") return wanted;
  return wanted.eq ?? wanted.gte ?? wanted.lte ?? wanted.in?.[0] ?? wanted.between?.[0] ?? "";
}

function linkNames({ definition }) {
  return Object.keys(definition.webhook.link ?? {});
}

function drawn(answer) {
  const { outcome, error, request, curl, table: rows, missing, warnings } = answer;
  return [
    answer.says !== undefined && answered(answer),
    outcome !== "rendered" &&
      h(
        "div",
        { class: "warning" },
        h("p", h("strong", outcome === "aborted" ? "The template stopped it" : "It could not be rendered"), error && [": ", error]),
      ),
    warnings.length > 0 &&
      h(
        "div",
        { class: "warning" },
        h(
          "ul",
          warnings.map((one) => h("li", one)),
        ),
      ),
    missing.length > 0 &&
      h(
        "div",
        { class: "warning" },
        h(
          "p",
          "Without a value: ",
          missing.map((name, index) => [index > 0 && ", ", h("code", name)]),
        ),
      ),
    request && [
      h("h3", "As a table"),
      table(
        "The request as a table",
        [
          ["Part", ""],
          ["Name", ""],
          ["Value", "wide"],
        ],
        rows.map(([what, name, content]) => [what, name ? h("code", name) : "", h("span", { class: "cell" }, content)]),
      ),
      h("h3", "As cURL"),
      code(curl, { label: "Copy cURL" }),
    ],
  ];
}

/** What came back from a test send. */
function answered({ status, latency_ms, meaning, cause, says, body_excerpt }) {
  if (meaning === null) return h("div", { class: "answer" }, h("p", mark("not sent", "failed"), " ", says));
  return h(
    "div",
    { class: "answer" },
    h("p", mark(meaning), " ", says),
    facts(
      ["Status", status ?? "no answer"],
      ["Cause", cause],
      ["Took", `${number(latency_ms)} ms`],
      ["Answer", body_excerpt ? value(body_excerpt) : "empty"],
    ),
  );
}
