// All campaigns with their status and funnel, and the funnel over all.

import { at, get } from "./api.js";
import { fill, h, link } from "./dom.js";
import { funnel, smallFunnel } from "./funnel.js";
import { field, mark, nothing, number, percent, region, select, table, time } from "./parts.js";
import * as words from "./words.js";

const EVERY_MS = 5000;
const ORDER = ["running", "paused", "ready", "ended"];

export function campaigns(page) {
  let loaded = null;
  const list = h("div");
  const wanted = h("input", { type: "search", value: page.query.get("q") ?? "", placeholder: "title, key, tag", on: { input: draw } });
  const status = select([["", "every status"], ...ORDER.map((one) => [one, one])], page.query.get("status") ?? "", draw);

  function draw() {
    page.replaceQuery({ q: wanted.value, status: status.value });
    if (loaded) fill(list, drawn(loaded, wanted.value.trim().toLowerCase(), status.value));
  }

  const { place } = region(
    page.signal,
    async (signal) => {
      const [{ campaigns }, stats] = await Promise.all([get(at("campaigns"), {}, signal), get(at("stats"), {}, signal)]);
      if (campaigns.length === 0) {
        return nothing(
          "No campaigns yet.",
          "Write one as YAML and apply it: ",
          h("code", "campanile apply DIRECTORY"),
          ". ",
          h("code", "campanile demo --serve"),
          " shows what it looks like.",
        );
      }
      loaded = { campaigns, stats };
      draw();
      const all = h("details", { class: "card" }, h("summary", overAll(stats.totals)), funnel(stats.totals));
      all.open = place.querySelector("details")?.open ?? false;
      return [all, list];
    },
    { every: EVERY_MS, label: "Loading the campaigns" },
  );
  const filters = h(
    "form",
    { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    field("Find", wanted),
    field("Status", status),
  );
  return [h("h1", page.title("Campaigns")), filters, place];
}

function overAll({ matched, sent, delivered, failed }) {
  return [
    "Over all: ",
    h("b", number(matched)),
    " matched, ",
    h("b", number(sent)),
    " sent, ",
    h("b", number(delivered)),
    " delivered, ",
    h("b", number(failed)),
    " failed",
  ];
}

function drawn({ campaigns, stats }, wanted, status) {
  const fits = ({ key, title, tags }) => [key, title ?? "", ...(tags ?? [])].some((text) => text.toLowerCase().includes(wanted));
  const shown = campaigns.filter((one) => (status === "" || one.status === status) && fits(one));
  if (shown.length === 0) return nothing("No campaign fits.", "Try another word or status.");
  shown.sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status) || a.key.localeCompare(b.key));
  const columns = [
    ["Campaign", "wide"],
    ["Status", ""],
    ["Trigger", ""],
    ["Funnel", "spare"],
    ["Matched", "number"],
    ["Sent", "number"],
    ["Delivered", "number"],
    ["Failed", "number"],
  ];
  const rows = shown.map((one) => row(one, stats.campaigns?.[one.key] ?? {}));
  return h("div", { class: "sheet" }, table("Campaigns", columns, rows, { stack: true }));
}

function row(campaign, totals) {
  const { key, title, status, trigger, channel, next_run } = campaign;
  return [
    h("div", { class: "named" }, link(title || key, "campaigns", key), h("small", h("code", key), channel && ` · ${channel}`)),
    mark(status),
    [words.trigger(trigger), next_run && h("small", "next ", time(next_run))],
    smallFunnel(totals),
    number(totals.matched ?? 0),
    number(totals.sent ?? 0),
    [number(totals.delivered ?? 0), " ", h("small", percent(totals.delivered ?? 0, totals.sent))],
    h("span", { class: totals.failed > 0 ? "bad" : "" }, number(totals.failed ?? 0)),
  ];
}
