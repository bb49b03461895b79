// Everything that can be done in the console, done by clicking and typing, against a running worker. A flow is a tab of its own; it
// fails by what it does not find, and by what must never happen meanwhile.

import assert from "node:assert/strict";

import { LOOKS, close, giveToken, go, labelled, look, open, pictureOfFailure, see, tab, track, until, world } from "./browser.mjs";

const { admin, read, ingest, hostile } = world;

const button = (page, name) => page.getByRole("button", { name, exact: true });
const asked = (page) => page.locator("dialog[open]");
const title = (page, name) => page.getByRole("heading", { level: 1, name, exact: true });

/** Presses what is asked for in a dialog, which closes when it is done. */
async function answer(page, name) {
  await asked(page).getByRole("button", { name, exact: true }).click();
  await asked(page).waitFor({ state: "detached" });
}

const flows = {
  async "a token is asked once, and refused in words"() {
    const page = await tab();
    await page.goto(world.url);
    for (const [token, words] of [
      ["wrong", "The token is not known"],
      [ingest, "Your token may not do that"],
    ]) {
      await labelled(page, "Token").fill(token);
      await button(page, "Open the console").click();
      await see(page, words);
    }
    // It cannot be got rid of: without a token there is nothing to see.
    await page.keyboard.press("Escape");
    await asked(page).waitFor();
    await giveToken(page, admin);
    await see(page, "Welcome after signing up");
    await page.reload();
    await see(page, "Welcome after signing up");
    assert.deepEqual(await page.evaluate(() => [localStorage.length, document.cookie]), [0, ""]);
    await button(page, "Sign out").click();
    await labelled(page, "Token").waitFor();
    return page;
  },

  async "a token that is not known any more is asked for again"() {
    const page = await open(admin, "campaigns");
    await see(page, "Welcome after signing up");
    await page.evaluate(() => sessionStorage.setItem("campanile.token", "of-yesterday"));
    await page.getByRole("link", { name: "Destinations" }).click();
    await see(page, "The token is not known any more");
    await giveToken(page, read);
    await see(page, "sms-provider");
    await page.locator("#who").getByText("read").waitFor();
    return page;
  },

  async "campaigns are listed with status and funnel, found and filtered"() {
    const page = await open(admin, "campaigns");
    const row = page.getByRole("row").filter({ hasText: "Welcome after signing up" });
    await row.getByText("running").waitFor();
    // mina twice, the third is over the cap; and one of somebody with a hostile name.
    await row.filter({ has: page.getByRole("cell", { name: "4", exact: true }) }).waitFor();
    await row.filter({ has: page.getByRole("cell", { name: "3", exact: true }) }).waitFor();
    await labelled(page, "Find").fill("cart");
    await row.waitFor({ state: "detached" });
    assert.equal(await page.getByRole("row").count(), 2, "the head and one campaign");
    await labelled(page, "Find").fill("");
    await labelled(page, "Status").selectOption("ready");
    await row.waitFor({ state: "detached" });
    await see(page, "A statement every month");
    assert.match(page.url(), /status=ready/);
    await labelled(page, "Find").fill("no such thing");
    await see(page, "No campaign fits.");
    assert.equal(await page.title(), "Campaigns · Campanile");
    return page;
  },

  async "one campaign shows its funnel, what held it back, who got it and its definition"() {
    const page = await open(admin, "campaigns");
    await page.getByRole("link", { name: "Welcome after signing up" }).click();
    await title(page, "Welcome after signing up").waitFor();
    await page.getByRole("row", { name: /^Matched 4/ }).waitFor();
    await page.getByRole("row", { name: /^Capped 1/ }).waitFor();
    await page.getByRole("row", { name: /^Delivered 3/ }).waitFor();
    await see(page, "has had enough messages for now");
    await see(page, "at most 2 in 1d");
    await labelled(page, "Period").selectOption("7");
    await page.getByRole("row", { name: /^Matched 4/ }).waitFor();
    await page.getByRole("link", { name: "Who got it" }).click();
    await page.getByRole("link", { name: "mina", exact: true }).waitFor();
    await page.getByRole("link", { name: "Definition" }).click();
    await see(page, "signed_up");
    await button(page, "Copy").click();
    await see(page, "copied");
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /key: welcome/);
    assert.match(await page.title(), /^Welcome after signing up, definition/);
    return page;
  },

  async "a request is previewed for a chosen user and event, as cURL and as a table"() {
    const page = await open(read, "campaigns/welcome/try");
    await labelled(page, "User id").fill("mina");
    await button(page, "Preview").click();
    await see(page, "As cURL");
    await page.locator("pre").getByText("Welcome, Mina").waitFor();
    await page.getByRole("table", { name: "The request as a table" }).getByText("POST").waitFor();
    // Somebody who is not stored.
    await page.getByText("Somebody who is not stored").click();
    await labelled(page, "An identify, as JSON").fill('{"userId": "new", "traits": {"name": "Nora"}}');
    await button(page, "Preview").click();
    await page.locator("pre").getByText("Welcome, Nora").waitFor();
    await labelled(page, "The event that triggers it, as JSON").fill("{no json");
    await button(page, "Preview").click();
    await see(page, "the event is not JSON");
    return page;
  },

  async "a test send shows the answer and what it means"() {
    const page = await open(admin, "campaigns/welcome/try");
    await labelled(page, "User id").fill("mina");
    await button(page, "Send a test …").click();
    await see(page, "One real request goes to");
    await answer(page, "Send it");
    const answered = page.locator(".answer");
    await answered.getByText("delivered").first().waitFor();
    await answered.getByText("200", { exact: true }).waitFor();
    await go(page, "campaigns/broken/try");
    await title(page, "Goodbye, to an endpoint that refuses").waitFor();
    await labelled(page, "User id").fill("mina");
    await button(page, "Send a test …").click();
    await answer(page, "Send it");
    await answered.getByText("400", { exact: true }).waitFor();
    await answered.getByText("failed").first().waitFor();
    return page;
  },

  async "a campaign is started after its overview, paused, resumed and ended, each after a question"() {
    const page = await open(admin, "campaigns/monthly");
    await see(page, "not started yet");
    await button(page, "Start").click();
    await asked(page).getByText("Audience").waitFor();
    await asked(page).getByText("Next run").waitFor();
    await asked(page).getByText("at most 2 in 1d").waitFor();
    await asked(page).getByRole("button", { name: "Cancel" }).click();
    await see(page, "not started yet");
    await button(page, "Start").click();
    await answer(page, "Start");
    await see(page, "reads events and sends");
    await button(page, "Pause").click();
    await answer(page, "Pause");
    await see(page, "holds what is not started");
    await button(page, "Resume").click();
    await asked(page).getByText("Next run").waitFor();
    await answer(page, "Resume");
    await see(page, "reads events and sends");
    await button(page, "End").click();
    await see(page, "it can never be started again");
    await answer(page, "End it");
    await see(page, "is over for good");
    assert.equal(await button(page, "Start").count(), 0);
    return page;
  },

  async "what was changed meanwhile is told in the dialog, not lost"() {
    const [first, second] = [await open(admin, "campaigns/draft"), await open(admin, "campaigns/draft")];
    await button(first, "End").click();
    await button(second, "End").click();
    await answer(second, "End it");
    await asked(first).getByRole("button", { name: "End it" }).click();
    await asked(first).getByRole("alert").waitFor();
    assert.deepEqual(second.wrongs, []);
    return first;
  },

  async "a read token sees everything and is told what it may not do"() {
    const page = await open(read, "campaigns/welcome");
    await button(page, "Pause").waitFor();
    assert.ok(await button(page, "Pause").isDisabled());
    assert.ok(await button(page, "End").isDisabled());
    await see(page, "Your token may only read");
    await page.getByRole("link", { name: "Try it" }).click();
    await button(page, "Send a test …").waitFor();
    assert.ok(await button(page, "Send a test …").isDisabled());
    assert.ok(await button(page, "Preview").isEnabled());
    await page.getByRole("link", { name: "Dead letters" }).click();
    await button(page, "Send again …").waitFor();
    assert.ok(await button(page, "Send again …").isDisabled());
    await see(page, "Your token may only read");
    return page;
  },

  async "a user is found with profile, exposures and timers, and a campaign is explained gate by gate"() {
    const page = await open(read, "users");
    await see(page, "Whom are you looking for?");
    await labelled(page, "User id").fill("mina");
    await button(page, "Look up").click();
    await title(page, "mina").waitFor();
    await see(page, "mina@example.com");
    await page.getByRole("table", { name: "Got" }).getByText("welcome").waitFor();
    await page.getByRole("table", { name: "Timers" }).getByText("cart").first().waitFor();
    await labelled(page, "Campaign").selectOption("welcome");
    await see(page, "Do the frequency caps allow it?");
    await page.locator(".gates li.shut").getByText("has had enough messages for now: at most 2 in 1d").waitFor();
    await page.locator(".gates li.open").first().waitFor();
    await page.reload();
    await see(page, "Do the frequency caps allow it?");
    await labelled(page, "User id").fill("nobody-at-all");
    await page.keyboard.press("Enter");
    await see(page, "It is not there");
    return page;
  },

  async "destinations show breaker, queue and rate"() {
    const page = await open(read, "destinations");
    const row = page.getByRole("row").filter({ hasText: "sms-provider" });
    await row.getByText("breaker closed").waitFor();
    await row.getByText("100/s, burst 20").waitFor();
    await row.getByText("0 of 64").waitFor();
    return page;
  },

  async "dead letters are filtered, opened, and sent again"() {
    const page = await open(admin, "dead");
    const letters = page.locator(".letters > li");
    await letters.first().waitFor();
    await labelled(page, "Campaign").fill("welcome");
    await button(page, "Look").click();
    await see(page, "None fits.");
    await labelled(page, "Campaign").fill("broken");
    await button(page, "Look").click();
    await letters.first().waitFor();
    await letters.first().locator("summary").click();
    await see(page, "Webhook Dispatch Failed: http 400");
    await letters.first().getByRole("link", { name: "joon" }).waitFor();
    await button(page, "Send again …").click();
    await asked(page).getByText("broken").waitFor();
    await asked(page).getByLabel("At most so many a second").fill("5");
    await answer(page, "Send again");
    await see(page, /^1 sent again/);
    return page;
  },

  async "the live tail follows, pauses, goes on and filters"() {
    const page = await open(read, "live");
    await see(page, "connected");
    await see(page, "Nothing yet.");
    const rows = page.locator(".tail > li");
    const delivered = (id) =>
      rows.filter({ hasText: `attempt 1 at sms-provider` }).filter({ has: page.getByRole("link", { name: id, exact: true }) });
    let early = 0;
    await until(() => track(`early-${++early}`, "signed_up"), rows.first());
    await track("live-1", "signed_up");
    await delivered("live-1").waitFor();
    await button(page, "Pause").click();
    await track("live-2", "signed_up");
    await page.getByRole("button", { name: /^Go on \(\d+ new\)/ }).waitFor();
    assert.equal(await rows.filter({ hasText: "live-2" }).count(), 0);
    await page.getByRole("button", { name: /^Go on/ }).click();
    await delivered("live-2").waitFor();
    await labelled(page, "Find").fill("live-1");
    await rows.filter({ hasText: "live-2" }).first().waitFor({ state: "detached" });
    await labelled(page, "Show").selectOption("attempt");
    await rows.filter({ hasText: "sent because" }).first().waitFor({ state: "detached" });
    assert.equal(await rows.count(), 1);
    await button(page, "Clear").click();
    await see(page, "Nothing yet.");
    return page;
  },

  async "a worker that does not answer, or says it cannot, is told in words and asked again"() {
    const page = await open(admin, "campaigns");
    await see(page, "Welcome after signing up");
    await page.route("**/v1/destinations", (route) => route.abort());
    await page.getByRole("link", { name: "Destinations" }).click();
    await see(page, "The worker does not answer");
    await page.unroute("**/v1/destinations");
    const problem = { title: "Service Unavailable", status: 503, detail: "the store is away" };
    const away = { status: 503, headers: { "retry-after": "7" }, contentType: "application/problem+json", body: JSON.stringify(problem) };
    await page.route("**/v1/destinations", (route) => route.fulfill(away));
    await button(page, "Try again").click();
    await see(page, "the store is away");
    await see(page, "left alone for 7 s");
    await page.unroute("**/v1/destinations");
    await button(page, "Try again").click();
    await see(page, "sms-provider");
    await go(page, "campaigns/no-such-campaign");
    await see(page, "It is not there");
    await go(page, "nowhere");
    await see(page, "There is no such page");
    return page;
  },

  async "where there is nothing, it says what to do next"() {
    const page = await open(admin, "users");
    for (const [place, path, answer, words] of [
      ["campaigns", "**/v1/campaigns", { revision: 0, campaigns: [] }, "No campaigns yet."],
      ["destinations", "**/v1/destinations", { destinations: [] }, "No destinations yet."],
      ["dead", "**/v1/dead?*", { records: [], next: null }, "No dead letters."],
    ]) {
      await page.route(path, (route) => route.fulfill({ contentType: "application/json", body: JSON.stringify(answer) }));
      await go(page, place);
      await see(page, words);
    }
    return page;
  },

  async "what a campaign and a user are called is never markup"() {
    const page = await open(admin, "campaigns");
    await see(page, hostile.title);
    await page.getByRole("link", { name: hostile.title }).click();
    await title(page, hostile.title).waitFor();
    await go(page, "campaigns/welcome/users");
    await page.getByRole("link", { name: hostile.user }).click();
    await title(page, hostile.user).waitFor();
    await see(page, hostile.trait);
    await go(page, "live");
    await see(page, "connected");
    await until(() => track(hostile.user, "signed_up"), page.locator(".tail").getByText(hostile.user).first());
    assert.equal(await page.locator("main img, main script, main b[onmouseover]").count(), 0);
    return page;
  },

  async "all of it can be done by keyboard"() {
    const page = await open(admin, "campaigns");
    await see(page, "Welcome after signing up");
    const focused = () => page.evaluate(() => document.activeElement.textContent);
    await page.reload();
    await see(page, "Welcome after signing up");
    assert.equal(await focused(), "Campaigns", "the heading of the view");
    // Backwards from there: signing out, the rooms, the name, and first of all the way past them.
    const passed = [];
    while (passed.length < 20 && passed.at(-1) !== "Skip to the content") {
      await page.keyboard.press("Shift+Tab");
      passed.push(await focused());
    }
    assert.deepEqual(passed, [
      "Sign out",
      "Live",
      "Dead letters",
      "Destinations",
      "Users",
      "Campaigns",
      "Campanile",
      "Skip to the content",
    ]);
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    assert.match(page.url(), /#\/campaigns/);
    await page.getByRole("link", { name: "Welcome after signing up" }).focus();
    await page.keyboard.press("Enter");
    await button(page, "Pause").waitFor();
    await button(page, "Pause").focus();
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none");
    await page.keyboard.press("Enter");
    await asked(page).waitFor();
    await page.keyboard.press("Escape");
    await asked(page).waitFor({ state: "detached" });
    assert.equal(await focused(), "Pause");
    return page;
  },

  async "every view is fit to be seen, in light and dark and on a phone"() {
    const wrongs = [];
    for (const [name, way] of Object.entries(LOOKS)) {
      const page = await tab(way);
      await page.goto(world.url);
      await labelled(page, "Token").waitFor();
      wrongs.push(...(await look(page, `${name}-token`)));
      await giveToken(page, admin);
      for (const [view, place, shown] of VIEWS) {
        await go(page, place);
        await shown(page);
        wrongs.push(...(await look(page, `${name}-${view}`)), ...page.wrongs);
      }
      await page.context().close();
    }
    assert.deepEqual(wrongs, []);
    return null;
  },
};

/** `[name of the picture, place, what is there once it is loaded]` */
const VIEWS = [
  ["campaigns", "campaigns", (page) => see(page, "Welcome after signing up")],
  ["campaign", "campaigns/welcome", (page) => page.getByRole("row", { name: /^Delivered [1-9]/ }).waitFor()],
  ["ready", "campaigns/hostile", (page) => see(page, "not started yet")],
  [
    "start",
    "campaigns/hostile",
    async (page) => {
      await button(page, "Start").click();
      await asked(page).getByText("Sends to").waitFor();
    },
  ],
  [
    "preview",
    "campaigns/welcome/try",
    async (page) => {
      await labelled(page, "User id").fill("mina");
      await button(page, "Preview").click();
      await see(page, "As cURL");
    },
  ],
  ["exposed", "campaigns/welcome/users", (page) => page.getByRole("link", { name: "mina", exact: true }).waitFor()],
  ["definition", "campaigns/welcome/definition", (page) => see(page, "signed_up")],
  ["users", "users", (page) => see(page, "Whom are you looking for?")],
  ["user", "users/mina?campaign=welcome", (page) => see(page, "Do the frequency caps allow it?")],
  ["destinations", "destinations", (page) => see(page, "sms-provider")],
  [
    "dead",
    "dead",
    async (page) => {
      await page.locator(".letters summary").first().click();
      await see(page, "Last status");
    },
  ],
  [
    "live",
    "live",
    async (page) => {
      await see(page, "connected");
      await until(() => track("watched", "signed_up"), page.locator(".tail > li").first());
    },
  ],
  ["trouble", "campaigns/no-such-campaign", (page) => see(page, "It is not there")],
];

const wanted = process.argv[2] ?? "";
let failed = 0;
for (const [name, flow] of Object.entries(flows).filter(([name]) => name.includes(wanted))) {
  try {
    const page = await flow();
    assert.deepEqual(page?.wrongs ?? [], []);
    await page?.context().close();
    console.log(`ok: ${name}`);
  } catch (error) {
    failed += 1;
    await pictureOfFailure(failed);
    console.log(`FAILED: ${name}\n${error.stack}\n`);
  }
}
await close();
process.exit(failed > 0 ? 1 : 0);
