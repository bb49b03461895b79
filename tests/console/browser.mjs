// Chromium without a window, and what every flow uses: opening the console as somebody, watching for what must never happen,
// pictures, and the check of accessibility.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const modules = createRequire(path.join(process.env.CONSOLE_MODULES, "package.json"));
const { chromium } = modules("playwright-core");
const axe = fs.readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8");

/** What the worker is, who may do what, and who is there: see tests/it/console.rs. */
export const world = JSON.parse(process.env.CONSOLE_WORLD);
const pictures = process.env.CONSOLE_PICTURES;

/** A machine that is busy with other tests is slow, not broken. */
const PATIENCE_MS = 30_000;

const AGAIN_AFTER_MS = 1000;

export const LOOKS = {
  light: { viewport: { width: 1280, height: 860 }, colorScheme: "light" },
  dark: { viewport: { width: 1280, height: 860 }, colorScheme: "dark" },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: "light", deviceScaleFactor: 2, hasTouch: true, isMobile: true },
};

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

let newest = null;

/** What a flow that failed was looking at. */
export async function pictureOfFailure(number) {
  await newest?.screenshot({ path: path.join(pictures, `failed-${number}.png`), fullPage: true }).catch(() => {});
}

export function close() {
  return browser.close();
}

/** A tab of its own, with its own session storage. What must never happen in it is in `wrongs`. */
export async function tab(look = LOOKS.light) {
  const context = await browser.newContext({
    ...look,
    timezoneId: "Asia/Seoul",
    locale: "en-GB",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  newest = page;
  page.wrongs = [];
  page.on("pageerror", (error) => page.wrongs.push(`an error nobody caught: ${error.stack}`));
  page.on("console", (message) => {
    // An answer that is no success is noted by the browser itself; what the console makes of it is tested.
    const refused = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !refused) page.wrongs.push(`the browser complains: ${message.text()}`);
  });
  page.on("dialog", async (dialog) => {
    page.wrongs.push(`a script of somebody's data ran: ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== world.url) page.wrongs.push(`a request to elsewhere: ${request.url()}`);
  });
  return page;
}

/** Opens a place in the console with this token. */
export async function open(token, place, look) {
  const page = await tab(look);
  await page.goto(`${world.url}/#/${place}`);
  await giveToken(page, token);
  return page;
}

export async function giveToken(page, token) {
  await labelled(page, "Token").fill(token);
  await page.getByRole("button", { name: "Open the console" }).click();
  await page.locator("dialog.token").waitFor({ state: "detached" });
}

/** Goes to a place as a link would. */
export async function go(page, place) {
  await page.evaluate((hash) => (location.hash = hash), `#/${place}`);
}

/** The field with this label, and nothing else that is called so. */
export function labelled(page, name) {
  return page.locator("input, select, textarea").and(page.getByLabel(name, { exact: true }));
}

export async function see(page, text) {
  await page.getByText(text).filter({ visible: true }).first().waitFor();
}

/** Does something again and again until it shows: the tail begins to follow some seconds after it is opened. */
export async function until(act, shown) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    await act();
    const seen = await shown.waitFor({ timeout: AGAIN_AFTER_MS }).then(
      () => true,
      () => false,
    );
    if (seen) return;
    if (Date.now() > deadline) throw new Error("it never showed");
  }
}

/** A picture of all of the page, and of how it does for those who cannot see it: the violations that hinder, in words. */
export async function look(page, name) {
  await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true });
  const { violations } = await page.evaluate(
    `(() => { const module = undefined, define = undefined; ${axe}; return axe.run(document); })()`,
  );
  const wrongs = violations
    .filter(({ impact }) => ["serious", "critical", "moderate"].includes(impact))
    .map((one) => `${name}: ${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).join(" ")}`);
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  return beyond > 0 ? [...wrongs, `${name}: ${beyond} px wider than the screen`] : wrongs;
}

/** An event, as a producer sends it. */
export async function track(userId, event, properties = {}) {
  const response = await fetch(`${world.url}/v1/track`, {
    method: "POST",
    headers: { authorization: `Bearer ${world.ingest}`, "content-type": "application/json" },
    body: JSON.stringify({ userId, event, properties }),
  });
  if (response.status !== 202) throw new Error(`the event was answered with ${response.status}: ${await response.text()}`);
}
