// From the shop to the refund, as people do it (D1–D10): the shop's clerk and the buyer in the browser, the devices on the command line.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority, done } from "./lib/authority.js";
import { PHONE, launch, look, open, tabTo } from "./lib/browser.js";

const RUNS = "sky-raider runs\n";
const person = { email: "cara@example.org", password: "a long walk in the rain" };
let authority, browser, laptop, desktop, user;

before(async () => {
  [authority, browser] = await Promise.all([Authority.start(), launch()]);
  await authority.sell("sky-raider", {
    name: "Sky Raider",
    summary: "Fly through canyons that nobody has charted",
    description: "Forty canyons, one aeroplane, no map.",
    prices: [{ amount: 1999, currency: "EUR" }],
    pictures: [{ alt: "A valley in the evening", hue: 0 }],
  });
  [laptop, desktop] = [await authority.device("laptop"), await authority.device("desktop")];
});

after(async () => {
  await browser?.close();
  await authority?.stop();
});

test("d1: a shop registers a buyer and their device, and the device completes it", async () => {
  const { token } = await authority.api("POST", "/v1/tokens", { role: "shop", name: "corner-shop" });
  const page = await open(browser, authority.url, { javaScriptEnabled: false });
  await page.goto("/shop");
  await page.getByLabel("Token").fill("cft_not-the-token");
  await page.getByRole("button", { name: "Sign in" }).click();
  assert.ok(await page.getByRole("alert").isVisible());
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByLabel("Name", { exact: true }).fill("Cara Diaz");
  await page.getByLabel("Device ID").fill(await deviceId(laptop));
  await page.getByLabel("Maker").fill("Initech");
  await page.getByLabel("What the buyer calls it").fill("laptop");
  await page.getByRole("button", { name: "Register" }).click();
  user = await page.getByRole("status").locator(".code").innerText();
  assert.match(user, /^usr-/);
  await done(laptop.run("register", "--user", user, "--no-card", "--library", laptop.library));
  assert.equal(JSON.parse(await done(laptop.run("status", "--json"))).user, user, "as the page for accounts says");
  assert.deepEqual(page.complaints, []);
});

test("d2: the buyer makes an account and buys for the laptop, with the keyboard alone", async () => {
  const page = await open(browser, authority.url, { viewport: PHONE });
  await page.goto("/account/sign-up");
  await tabTo(page, "User ID");
  await page.keyboard.type(user);
  await tabTo(page, "E-mail address");
  await page.keyboard.type(person.email);
  await tabTo(page, "Password");
  await page.keyboard.type(person.password);
  await page.keyboard.press("Enter");
  await page.getByText("These recovery codes are shown once").waitFor();
  await tabTo(page, "I have kept them");
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.pathname === "/account");
  await page.goto("/store");
  await tabTo(page, "Sky Raider");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/store/sky-raider");
  await tabTo(page, "Buy");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/store/sky-raider/buy");
  await tabTo(page, "laptop");
  await page.keyboard.press("Space");
  await tabTo(page, "Buy now");
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => !url.pathname.endsWith("/buy"));
  assert.ok(await page.getByText("19.99 EUR").first().isVisible());
  assert.deepEqual(page.complaints, []);
});

test("d4, d7: the laptop installs it and runs it", async () => {
  await done(laptop.run("agent", "--once", "--library", laptop.library));
  assert.equal(await done(laptop.run("run", "sky-raider")), RUNS);
});

test("d8, d9, d10: moved in the browser, it runs on the desktop and no longer on the laptop", async () => {
  const page = await signedIn();
  await page.goto("/devices");
  await page.getByLabel("Device ID").fill(await deviceId(desktop));
  await page.getByLabel("Name", { exact: true }).fill("desktop");
  await page.getByRole("button", { name: "Announce it" }).click();
  assert.ok(await page.getByText("not registered yet").isVisible());
  await done(desktop.run("register", "--user", user, "--no-card", "--library", desktop.library));

  await page.goto("/devices");
  await page.getByRole("link", { name: "Move to another device from laptop" }).click();
  await page.getByLabel("Sky Raider").check();
  await page.getByLabel("desktop").check();
  await page.getByRole("button", { name: "See what will happen" }).click();
  await page.waitForURL("**/transfer/preview*");
  assert.equal(await done(laptop.run("run", "sky-raider")), RUNS, "nothing has moved yet");
  await look(page, "journey-preview");
  await page.getByRole("button", { name: "Move now" }).click();
  assert.ok(await page.getByRole("status").getByText("It is done").isVisible());
  await look(page, "journey-moved");

  await done(desktop.run("agent", "--once", "--library", desktop.library));
  assert.equal(await done(desktop.run("run", "sky-raider")), RUNS);
  const refused = await laptop.run("run", "sky-raider");
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /this license has ended on this device/);
});

test("d10: given back in the browser, it runs nowhere", async () => {
  const page = await signedIn();
  await page.getByRole("link", { name: "Sky Raider" }).click();
  await page.getByRole("button", { name: "Give Sky Raider back" }).click();
  assert.ok(await page.getByRole("status").isVisible());
  await look(page, "journey-given-back");
  const refused = await desktop.run("run", "sky-raider");
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /this license has ended on this device/);
});

test("the pages of moving and of the shop are accessible and fit a phone", async () => {
  const buyer = await signedIn();
  await done(desktop.run("buy", "sky-raider", "--yes"));
  for (const [path, name] of [
    ["/devices", "journey-devices"],
    ["/transfer", "journey-transfer"],
    [`/transfer?source=${await deviceId(desktop)}`, "journey-transfer-from"],
  ]) {
    await buyer.goto(path);
    await look(buyer, name);
  }
  const { token } = await authority.api("POST", "/v1/tokens", { role: "shop", name: "other-shop" });
  const clerk = await open(browser, authority.url);
  await clerk.goto("/shop");
  await look(clerk, "journey-shop-sign-in");
  await clerk.getByLabel("Token").fill(token);
  await clerk.getByRole("button", { name: "Sign in" }).click();
  await look(clerk, "journey-shop");
});

/** A window of its own in which the buyer has signed in, and sees their account. */
async function signedIn() {
  const page = await open(browser, authority.url);
  await page.goto("/account/sign-in");
  await page.getByLabel("E-mail address").fill(person.email);
  await page.getByLabel("Password").fill(person.password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.waitForURL((url) => url.pathname === "/account");
  return page;
}

/** As the device itself tells it. */
async function deviceId(device) {
  return JSON.parse(await done(device.run("status", "--json"))).device.id;
}
