// The frame: which view stands at which address, who is looking, and asking for the token. An address is `#/view/part/...?query`.

import { begin, onTokenNeeded, session, signIn, signOut } from "./api.js";
import { campaign } from "./campaign.js";
import { campaigns } from "./campaigns.js";
import { dead } from "./dead.js";
import { destinations } from "./destinations.js";
import { fill, h, link } from "./dom.js";
import { live } from "./live.js";
import { button, field, nothing, trouble } from "./parts.js";
import { users } from "./users.js";

/** In the order of the navigation. */
const ROOMS = [
  ["campaigns", "Campaigns", (page) => (page.parts.length > 0 ? campaign(page) : campaigns(page))],
  ["users", "Users", users],
  ["destinations", "Destinations", destinations],
  ["dead", "Dead letters", dead],
  ["live", "Live", live],
];

const main = document.getElementById("main");
/** Ends what the view before has under way. */
let leave = new AbortController();

onTokenNeeded(askForToken);
window.addEventListener("hashchange", () => show());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
await start();

async function start() {
  try {
    await begin();
    showWho();
    show();
  } catch (error) {
    fill(main, trouble(error, start));
  }
}

function show() {
  leave.abort();
  leave = new AbortController();
  document.querySelectorAll("dialog:not(.token)").forEach((dialog) => dialog.close());
  if (!location.hash.startsWith("#/")) return (history.replaceState(null, "", "#/campaigns"), show());
  const [path, query = ""] = location.hash.slice(2).split("?");
  const [name, ...parts] = path.split("/").map(decoded);
  const room = ROOMS.find(([known]) => known === name);
  fill(
    document.getElementById("rooms"),
    ROOMS.map(([known, title]) => roomLink(known, title, known === name)),
  );
  document.querySelector("#rooms [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  const page = { parts, query: new URLSearchParams(query), signal: leave.signal, title: setTitle, replaceQuery };
  fill(main, room ? room[2](page) : lost(name));
  window.scrollTo(0, 0);
  // Whoever reads with a screen reader or moves by keyboard begins at the top of what is new.
  const heading = main.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

function roomLink(name, title, here) {
  const made = link(title, name);
  if (here) made.setAttribute("aria-current", "page");
  return made;
}

function setTitle(text) {
  document.title = `${text} · Campanile`;
  return text;
}

/** Keeps a view's filters in its address, without a step in the history. */
function replaceQuery(query) {
  const known = Object.entries(query).filter(([, value]) => value);
  const [path] = location.hash.split("?");
  history.replaceState(null, "", known.length > 0 ? `${path}?${new URLSearchParams(known)}` : path);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function lost(name) {
  setTitle("Not found");
  return [h("h1", "There is no such page"), nothing(`Nothing is at “${name}”.`, "Go to the ", link("campaigns", "campaigns"), ".")];
}

function showWho() {
  const who = document.getElementById("who");
  if (session.open) return fill(who, h("span", { title: `Campanile ${session.version}` }, "no tokens set"));
  fill(who, h("span", { title: `Campanile ${session.version}` }, session.role), button("Sign out", leaveIt, { class: "quiet" }));
}

function leaveIt() {
  signOut();
  location.reload();
}

/** Resolves once a token is known. It cannot be dismissed: nothing can be shown without. */
function askForToken(refused) {
  return new Promise((resolve) => {
    const token = h("input", { type: "password", autocomplete: "off", required: true, spellcheck: "false", autofocus: true });
    const problems = h("div");
    const go = h("button", { type: "submit", class: "primary" }, "Open the console");
    const again = refused && h("p", { class: "trouble", role: "alert" }, "The token is not known any more. Give another one.");
    const hint = "One of http.tokens: admin, or read to look only. It is kept in this tab until it is closed.";
    const form = h(
      "form",
      { on: { submit } },
      h("h2", { id: "token-asked" }, "Your token"),
      again,
      field("Token", token, hint),
      problems,
      h("p", { class: "buttons" }, go),
    );
    const dialog = h(
      "dialog",
      { class: "token", "aria-labelledby": "token-asked", on: { cancel: (event) => event.preventDefault() } },
      form,
    );

    async function submit(event) {
      event.preventDefault();
      go.disabled = true;
      try {
        await signIn(token.value.trim());
      } catch (error) {
        fill(problems, trouble(error));
        go.disabled = false;
        token.focus();
        return;
      }
      showWho();
      dialog.addEventListener("close", resolve);
      dialog.close();
      dialog.remove();
    }

    document.body.append(dialog);
    dialog.showModal();
  });
}
