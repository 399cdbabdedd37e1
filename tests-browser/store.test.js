// The sales pages (D2): found, searched and read with and without scripts, by mouse and by keyboard, on a desk and on a phone.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority } from "./lib/authority.js";
import { PHONE, launch, look, open, tabTo } from "./lib/browser.js";

let authority, browser;

before(async () => {
  [authority, browser] = await Promise.all([Authority.start(), launch()]);
  await authority.sell("sky-raider", {
    name: "Sky Raider",
    summary: "Fly through canyons that nobody has charted",
    description: "Forty canyons, one aeroplane, no map.\n\nBest with a joystick.\nWorks with a keyboard.",
    prices: [{ amount: 1999, currency: "EUR" }, { amount: 2199, currency: "USD" }],
    policy: { devices: 2, trial_days: 7 },
    pictures: [{ alt: "A valley in the evening", hue: 0 }, { alt: "A green canyon", hue: 1 }, { alt: "The sea", hue: 2 }],
  });
  await authority.sell("night-songs", { name: "Night Songs", summary: "Twelve songs for the small hours", prices: [{ amount: 0, currency: "EUR" }] });
  await authority.sell("ledger", {
    name: "A Ledger with a Rather Long Name for Households and Small Associations",
    prices: [{ amount: 500, currency: "JPY" }],
    pictures: [{ alt: "Columns of figures", hue: 2 }],
  });
});

after(async () => {
  await browser?.close();
  await authority?.stop();
});

test("d2: the store shows what is sold, and a search narrows it down, without scripts", async () => {
  const page = await open(browser, authority.url, { javaScriptEnabled: false });
  await page.goto("/store");
  assert.deepEqual(await page.locator(".title h2").allInnerTexts(), [
    "A Ledger with a Rather Long Name for Households and Small Associations",
    "Night Songs",
    "Sky Raider",
  ]);
  await page.getByLabel("Search by name").fill("CANYONS");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("link", { name: "Sky Raider" }).click();
  assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), "Sky Raider");
  assert.equal(await page.locator(".price").innerText(), "19.99 EUR or 21.99 USD");
  const drawn = await page.locator(".pictures img").evaluateAll((images) => images.map((image) => image.naturalWidth));
  assert.deepEqual(drawn.slice(0, 1), [640]);
  assert.ok(await page.getByText("It runs on up to 2 of your devices at a time.").isVisible());
  assert.equal(await page.getByRole("link", { name: "Buy", exact: true }).getAttribute("href"), "/store/sky-raider/buy");
  assert.deepEqual(page.complaints, []);
});

test("the pages of the store are accessible and fit a phone", async () => {
  const page = await open(browser, authority.url);
  for (const [path, name] of [
    ["/store", "store"],
    ["/store?q=nothing+like+this", "store-nothing"],
    ["/store/sky-raider", "title"],
    ["/store/night-songs", "title-free"],
    ["/store/not-there", "problem"],
  ]) {
    await page.goto(path);
    await look(page, name);
  }
});

test("the store is used with the keyboard alone", async () => {
  const page = await open(browser, authority.url, { viewport: PHONE });
  await page.goto("/store");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.innerText), "Skip to the content");
  await page.keyboard.press("Enter");
  await tabTo(page, "Search by name");
  await page.keyboard.type("songs");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/store?q=songs");
  await tabTo(page, "Night Songs");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/store/night-songs");
  await tabTo(page, "Get it");
});

test("d2: a publisher edits a listing in the browser, without scripts", async () => {
  const page = await open(browser, authority.url, { javaScriptEnabled: false });
  await page.goto("/publish");
  await page.getByLabel("Token").fill(authority.token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: "Night Songs" }).click();
  await page.getByLabel("Summary").fill("Thirteen songs for the small hours");
  await page.getByLabel("Prices").fill("3 EUR");
  await page.getByLabel("Devices that may run it at once").fill("5");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("link", { name: "See it in the store" }).click();
  assert.equal(await page.locator(".price").innerText(), "3.00 EUR");
  assert.ok(await page.getByText("It runs on up to 5 of your devices at a time.").isVisible());
  assert.deepEqual(page.complaints, []);
});

test("the publisher's pages are accessible and fit a phone", async () => {
  const page = await open(browser, authority.url);
  await page.goto("/publish");
  await look(page, "publish-sign-in");
  await page.getByLabel("Token").fill(authority.token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await look(page, "publish");
  await page.goto("/publish/titles/sky-raider");
  await look(page, "publish-title");
});
