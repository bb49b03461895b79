// One campaign: what it is and how it does, starting and stopping it, and the ways to its other pages.

import { at, dryRun, get, post } from "./api.js";
import { h, link, to } from "./dom.js";
import { exposed } from "./exposed.js";
import { numbers } from "./numbers.js";
import { adminButton, code, confirm, facts, mark, nothing, number, region, say, time, whyDisabled } from "./parts.js";
import { tryOut } from "./try.js";
import * as words from "./words.js";

/** `[part of the address, title, what it shows]` */
const TABS = [
  ["", "Overview", overview],
  ["try", "Try it", tryOut],
  ["users", "Who got it", exposed],
  ["definition", "Definition", definition],
];

export function campaign(page) {
  const [key, part = ""] = page.parts;
  const tab = TABS.find(([name]) => name === part) ?? TABS[0];
  const heading = h("h1", page.title(key));
  const { place, refresh } = region(
    page.signal,
    async (signal) => {
      const campaign = await get(at("campaigns", key), {}, signal);
      heading.textContent = campaign.title || key;
      page.title(`${campaign.title || key}${part && `, ${tab[1].toLowerCase()}`}`);
      return [head(campaign, refresh), tabs(key, tab[0]), tab[2]({ ...page, campaign, key })];
    },
    { label: "Loading the campaign" },
  );
  return [h("p", { class: "way" }, link("Campaigns", "campaigns"), " /"), heading, place];
}

function tabs(key, here) {
  const one = ([name, title]) =>
    h("a", { href: name ? to("campaigns", key, name) : to("campaigns", key), "aria-current": name === here ? "page" : null }, title);
  return h("nav", { class: "tabs", "aria-label": "Campaign" }, TABS.map(one));
}

function head(campaign, changed) {
  const { key, status, version, channel, tags, description } = campaign;
  return h(
    "div",
    { class: "head" },
    h(
      "p",
      { class: "line" },
      mark(status),
      h("span", words.status(status)),
      h("code", key),
      h("span", `version ${version}`),
      channel && h("span", channel),
      (tags ?? []).map((tag) => h("span", { class: "tag" }, tag)),
    ),
    description && h("p", description),
    h("p", { class: "buttons" }, lifecycle(campaign, changed)),
    status !== "ended" && whyDisabled(),
  );
}

/** What can be done with a campaign of this status. */
function lifecycle(campaign, changed) {
  const ask = (what) => () => askFor(what, campaign, changed);
  const start = (text) => adminButton(text, ask("start"), { class: "primary" });
  const pause = adminButton("Pause", ask("pause"));
  const end = adminButton("End", ask("end"), { class: "danger quiet" });
  switch (campaign.status) {
    case "ready":
      return [start("Start"), end];
    case "running":
      return [pause, end];
    case "paused":
      return [start("Resume"), end];
    default:
      return [];
  }
}

function askFor(what, { key, status }, changed) {
  const resumes = status === "paused";
  let revision = null;
  const looked = async () => {
    const looked = await dryRun(at("campaigns", key, "start"));
    revision = looked.revision;
    return startOverview(looked.answer);
  };
  const asked = {
    start: () => ({
      title: resumes ? "Resume this campaign?" : "Start this campaign?",
      body: looked(),
      action: resumes ? "Resume" : "Start",
      said: "it is running",
    }),
    pause: () => ({
      title: "Pause this campaign?",
      body: h(
        "p",
        "Nothing new is sent. Timers are held, retries of what is started finish. It can be resumed; what is overdue by then by more than triggers.max_overdue is not sent any more.",
      ),
      action: "Pause",
      said: "it is paused",
    }),
    end: () => ({
      title: "End this campaign for good?",
      body: h("p", "Nothing that has not started is sent, and it can never be started again. Its key stays taken; its statistics stay."),
      action: "End it",
      danger: true,
      said: "it has ended",
    }),
  }[what]();
  const perform = async () => {
    await post(at("campaigns", key, what), undefined, { revision });
    say(asked.said);
    changed();
  };
  confirm({ ...asked, perform });
}

/** What should be known before it starts. */
function startOverview({ estimated_audience, next_run, destination, caps, warnings }) {
  return [
    facts(
      ["Audience", audience(estimated_audience)],
      ["Next run", time(next_run)],
      ["Sends to", sendsTo(destination)],
      ["Caps", capList(caps)],
    ),
    (warnings ?? []).length > 0
      ? h(
          "div",
          { class: "warning" },
          h("p", h("strong", "Before you start")),
          h(
            "ul",
            warnings.map((one) => h("li", one)),
          ),
        )
      : h("p", { class: "muted" }, "No warnings."),
  ];
}

/** An estimate costs a look at many users: it is made where somebody is about to start. */
function audience(estimate) {
  if (!estimate) return null;
  const more = estimate.sampled ? "; there are more" : "";
  return `${number(estimate.users)} of the ${number(estimate.of)} users that were looked at${more}`;
}

function sendsTo(destination) {
  return (
    destination && [
      destination.host ?? "",
      destination.name && destination.name !== destination.host ? [" (", link(destination.name, "destinations"), ")"] : null,
    ]
  );
}

function capList(caps) {
  if (!caps || caps.length === 0) return "none";
  return h(
    "ul",
    { class: "plain" },
    caps.map(({ rule, scope }) => h("li", words.rule(rule), scope && h("span", { class: "muted" }, ` (${scope})`))),
  );
}

function overview(page) {
  const { campaign } = page;
  const { trigger, priority, running_since, next_run, destination, caps, warnings } = campaign;
  const card = h(
    "section",
    { class: "card" },
    h("h2", "What it is"),
    facts(
      ["Triggered by", words.trigger(trigger)],
      ["Next run", time(next_run)],
      ["Running since", time(running_since)],
      ["Sends to", sendsTo(destination)],
      ["Priority", priority],
      ["Caps", capList(caps)],
    ),
    (warnings ?? []).length > 0 &&
      h(
        "div",
        { class: "warning" },
        h(
          "ul",
          warnings.map((one) => h("li", one)),
        ),
      ),
  );
  return h("div", { class: "two" }, numbers(page), card);
}

function definition({ campaign }) {
  if (!campaign.yaml) return nothing("The worker did not say how it is defined.");
  return h(
    "section",
    h("h2", { class: "unseen" }, "Definition"),
    code(campaign.yaml, { lines: campaign.yaml.trimEnd().split("\n").map(yamlLine) }),
  );
}

/** Keys and comments a little apart from the values. */
function yamlLine(line) {
  const [, indent, comment, key, rest] = /^(\s*(?:- )*)(?:(#.*)|("[^"]*"|[\w.-]+)(:(?: .*)?))?$/.exec(line) ?? [];
  if (comment) return [indent, h("i", comment), "\n"];
  if (key) return [indent, h("b", key), rest, "\n"];
  return [line, "\n"];
}
