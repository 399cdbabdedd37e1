// A day at the console (C14, C15): from the one-time link to charts. Staff in the browser, users on the command line, and nothing by script.

import assert from "node:assert/strict";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Authority, done } from "./lib/authority.js";
import { launch, look, open, pictures, tabTo } from "./lib/browser.js";
import { PASSWORD, beside, code, settle, timed } from "./lib/console.js";

let authority, browser, operator, ada, user, recovery, discs;

before(async () => {
  [authority, browser] = await Promise.all([Authority.start({ COUNTERFOILD__AUDIT__CHECKPOINT_MINUTES: "1" }), launch()]);
  await authority.sell("sky-raider", {
    name: "Sky Raider",
    summary: "Fly through canyons that nobody has charted",
    prices: [{ amount: 1999, currency: "EUR" }],
  });
  await authority.sell("night-owl", { name: "Night Owl", prices: [{ amount: 999, currency: "EUR" }] });
  discs = authority.path("discs");
  const publisher = await authority.publisher();
  await done(publisher.run("press", "--title", "sky-raider", "--count", "3", "--out", discs, "--name", "First run"));
  ada = await authority.device("ada");
  await done(ada.run("card", "new"));
  const registered = JSON.parse(await done(ada.run("register", "--library", ada.library, "--json")));
  [user, recovery] = [registered.user_id, registered.recovery_code];
  await authority.api("PUT", `/v1/users/${user}`, { name: "Ada Lovelace", email: "ada@example.org" }).catch(() => {});
  await done(ada.run("copy", join(discs, "0001"), "--library", ada.library));
});

after(async () => {
  await browser?.close();
  await authority?.stop();
});

test("the first operator comes in by the one-time link, and not without a second step", async () => {
  operator = await settle(browser, authority, authority.consoleLink, "grace@example.org");
  await operator.goto("/console");
  assert.ok(await operator.getByRole("heading", { level: 1 }).isVisible());
  assert.ok(await operator.getByRole("link", { name: "Audit log", exact: true }).isVisible());

  const stranger = await open(browser, authority.url, { javaScriptEnabled: false });
  const { pathname, search } = new URL(authority.consoleLink);
  await stranger.goto(pathname + search);
  assert.ok(await stranger.getByRole("heading", { name: "This link is not good any more" }).isVisible());
  await stranger.goto("/console/audit");
  await stranger.waitForURL("**/console/sign-in*");
  await stranger.getByLabel("E-mail address").fill("grace@example.org");
  await stranger.getByLabel("Password").fill(PASSWORD);
  await stranger.getByRole("button", { name: "Sign in" }).click();
  await stranger.getByLabel("Code", { exact: true }).fill("000000");
  await stranger.getByRole("button", { name: "Sign in" }).click();
  assert.ok(await stranger.getByRole("alert").isVisible(), "a wrong code");
  await stranger.getByLabel("Code", { exact: true }).fill(code(operator.secret, 1));
  await stranger.getByRole("button", { name: "Sign in" }).click();
  await stranger.waitForURL("**/console/audit");
});

test("a thousand media are pressed in under two minutes, and what is downloaded is good", async () => {
  const page = operator;
  let pressed, table;
  const seconds = await timed(async () => {
    await page.goto("/console");
    await page.getByRole("link", { name: "Press media" }).click();
    await page.getByLabel("Title", { exact: true }).selectOption("sky-raider");
    await page.getByLabel("How many media").fill("1,000");
    await page.getByLabel("What you call the batch").fill("Spring edition");
    await page.getByRole("button", { name: "Press" }).click();
    await page.waitForURL("**/identities?done=pressed");
    pressed = await download(page, "ZIP");
    table = await download(page, "CSV");
  });
  assert.ok(seconds < 120, `${seconds} s`);
  console.log(`pressing 1,000 media took ${seconds.toFixed(1)} s`);
  assert.equal(pressed.subarray(0, 2).toString(), "PK");
  assert.equal(pressed.toString("latin1").split("/identity.json").length - 1, 2000, "each is there, and listed at the end");
  const rows = table.toString("utf8").trim().split("\r\n");
  assert.equal(rows.length, 1001);
  const [, serial, medium, quoted] = rows[1].match(/^(\d+),([^,]+),"(.*)"$/);
  assert.equal(serial, "1");
  const disc = authority.path("by-hand");
  await mkdir(disc, { recursive: true });
  await writeFile(join(disc, "identity.json"), quoted.replaceAll('""', '"'));
  const inspected = JSON.parse(await done(ada.run("inspect", disc, "--json")));
  assert.equal(inspected.identity.medium_id, medium);
  assert.deepEqual(page.complaints, []);
});

test("c14: the laptop is broken: found, exchanged, and copied again on the new one", async () => {
  const page = operator;
  const card = JSON.parse(await done(ada.run("status", "--json", "--library", ada.library)));
  const old = card.device.id;
  const desktop = await authority.device("ada-desktop");
  await mkdir(desktop.home, { recursive: true });
  await cp(join(ada.home, "card.json"), join(desktop.home, "card.json"));
  const fresh = JSON.parse(await done(desktop.run("status", "--json"))).device.id;

  const found = await timed(async () => {
    await page.goto("/console");
    await tabTo(page, "Find a user");
    await page.keyboard.type(card.card);
    await page.keyboard.press("Enter");
    await page.waitForURL((url) => url.pathname !== "/console");
    await reach(page, user);
  });
  assert.ok(found < 15, `found in ${found} s`);
  console.log(`finding a customer by the card took ${found.toFixed(1)} s`);
  assert.ok(await page.getByText("Sky Raider").first().isVisible(), "what the entry holds");

  await page.goto(`/console/users/${user}/exchange`);
  await page.getByRole("radio").first().check();
  assert.ok((await page.getByRole("radio").first().getAttribute("value")) === old);
  await page.getByLabel("ID of the new one").fill(fresh);
  await page.getByRole("button", { name: "See what will happen" }).click();
  assert.ok(await page.getByText("Their media are free again").isVisible());
  await page.getByLabel("Reason").fill("fell into the sea");
  await page.getByLabel("Reference").fill("RMA 4711");
  await page.getByRole("button", { name: "Exchange the device" }).click();
  await page.waitForURL(`**/console/users/${user}?done=exchanged`);
  assert.ok(await page.getByRole("status").getByText("It is exchanged").isVisible());
  assert.ok(await page.getByText("fell into the sea").first().isVisible(), "on record, and shown");

  await done(desktop.run("register", "--user", user, "--library", desktop.library));
  await done(desktop.run("copy", join(discs, "0001"), "--library", desktop.library));
  const again = await ada.run("copy", join(discs, "0002"), "--again", "--library", ada.library, "--json");
  assert.equal(again.status, 1, "the old one gets nothing more");
  assert.match(again.stdout + again.stderr, /device_exchanged/);
  ada = desktop;
  await page.reload();
  assert.ok(await page.getByText(/turned up/).first().isVisible(), "and is shown when it tries");
});

test("c15: the card is lost: asked for, replaced in under two minutes, and the library plays", async () => {
  const page = operator;
  const plays = async () => (await ada.run("play", "sky-raider", "start", "--library", ada.library)).stdout;
  const before = await plays();
  assert.match(before, /sky-raider runs/);
  await cp(join(ada.home, "card.json"), authority.path("found-card.json"));
  await rm(join(ada.home, "card.json"));
  const asked = await ada.run("card", "replace", "--user", user, "--recovery-code", recovery, "--contact", "by phone, 555 0199", "--json");
  assert.equal(asked.status, 1, asked.stdout + asked.stderr);

  const seconds = await timed(async () => {
    await page.goto("/console");
    await page.getByRole("link", { name: "Lost cards", exact: true }).click();
    assert.ok(await page.getByText("by phone, 555 0199").isVisible());
    await page.getByRole("link", { name: "Replace…" }).click();
    await page.getByLabel("Reason").fill("came in with a passport");
    await page.getByRole("button", { name: "Replace the card" }).click();
    await page.waitForURL(`**/console/users/${user}?done=replaced`);
  });
  assert.ok(seconds < 120, `${seconds} s`);
  console.log(`replacing a lost card took ${seconds.toFixed(1)} s`);
  await done(ada.run("card", "replace", "--user", user, "--recovery-code", recovery));
  await authority.offline(async () => assert.equal(await plays(), before, "with the new card, and no network"));
  const found = await ada.run("copy", join(discs, "0003"), "--again", "--library", ada.library, "--card", authority.path("found-card.json"), "--json");
  assert.equal(found.status, 1, "the old card is dead");
});

test("what was decided stands in the audit log, with who and why", async () => {
  const page = operator;
  await page.goto("/console/audit?event=exchanged");
  assert.equal(await page.getByRole("row").filter({ hasText: "Device or drive exchanged" }).count(), 1);
  await page.getByText("Particulars").first().click();
  assert.ok(await page.getByText("fell into the sea").first().isVisible());
  const csv = await (await page.context().request.get("/console/audit.csv?actor=staff")).text();
  assert.match(csv, /card\.replaced/);
  assert.doesNotMatch(csv, /claim\.granted/);
});

test("every page is accessible, in light and dark, wide and on a phone", async () => {
  const { token } = await authority.api("POST", "/v1/tokens", { role: "shop", name: "North shop" });
  assert.ok(token);
  const { batch } = (await authority.api("GET", "/v1/batches")).items.at(-1);
  const medium = (await readFile(join(discs, "0002", "identity.json"), "utf8")).match(/"identity":"[^.]+\.([^.]+)\./)[1];
  const { medium_id } = JSON.parse(Buffer.from(medium, "base64url").toString());
  const hook = await authority.api("POST", "/v1/webhooks", { name: "Sales", url: "https://hooks.example/counterfoil", events: ["*"] });
  const page = await beside(browser, authority, operator);
  const card = JSON.parse(await done(ada.run("status", "--json", "--library", ada.library)));
  const wrong = [];
  for (const [path, name] of [
    ["/console", "overview"],
    ["/console/search?q=ada", "search"],
    ["/console/search?q=nothing-like-this", "search-empty"],
    [`/console/users/${user}`, "user"],
    [`/console/users/${user}/exchange`, "exchange"],
    [`/console/users/${user}/reissue`, "reissue"],
    [`/console/users/${user}/erase`, "erase"],
    [`/console/devices/${card.device.id}`, "device"],
    [`/console/cards/${card.card}`, "card"],
    [`/console/cards/${card.card}/revoke`, "card-revoke"],
    [`/console/media/${medium_id}`, "medium"],
    [`/console/media/${medium_id}/rights`, "medium-rights"],
    [`/console/media/${medium_id}/retire`, "medium-retire"],
    ["/console/reissues", "reissues"],
    ["/console/orders", "orders"],
    ["/console/titles", "titles"],
    ["/console/titles/sky-raider", "title"],
    ["/console/titles/sky-raider/releases/1.0.0", "release"],
    ["/console/batches", "batches"],
    [`/console/batches/${batch}`, "batch"],
    [`/console/batches/${batch}/rights`, "batch-rights"],
    [`/console/batches/${batch}/identities`, "identities"],
    ["/console/press", "press"],
    ["/console/staff", "staff"],
    ["/console/tokens", "tokens"],
    ["/console/webhooks", "webhooks"],
    [`/console/webhooks/${hook.webhook}`, "webhook"],
    [`/console/webhooks/${hook.webhook}/end`, "webhook-end"],
    ["/console/audit", "audit"],
    ["/console/settings", "settings"],
    ["/console/security", "security"],
    ["/console/nowhere", "not-found"],
  ]) {
    await page.goto(path);
    // All of them are looked at, whatever is wrong with one.
    await look(page, `console-${name}`).catch((error) => wrong.push(error.message));
    page.complaints.length = 0;
    const bytes = Buffer.byteLength(await page.content());
    assert.ok(bytes < 600_000, `${path} has ${bytes} bytes`);
  }
  assert.deepEqual(wrong, []);
  const door = await open(browser, authority.url);
  await door.goto("/console/sign-in");
  await look(door, "console-sign-in");
});

test("pictures for docs/operators.md are taken", async () => {
  const page = await beside(browser, authority, operator, { viewport: { width: 1160, height: 760 }, deviceScaleFactor: 0.75 });
  const take = (name) => page.screenshot({ path: `${pictures}/docs-console-${name}.png` });
  for (const [path, name] of [
    ["/console", "overview"],
    [`/console/users/${user}`, "user"],
    ["/console/press?title=sky-raider", "press"],
    ["/console/audit", "audit"],
  ]) {
    await page.goto(path);
    await take(name);
  }
  await page.goto(`/console/users/${user}/exchange`);
  await page.getByRole("radio").first().check();
  await page.getByLabel("ID of the new one").fill("dev-2S3K-2HTZ-C0BH-66SV-1648-T6NX-228M");
  await page.getByRole("button", { name: "See what will happen" }).click();
  await page.getByLabel("Reason").fill("fell into the sea");
  await take("exchange");
});

/** Downloads the identities in a form, as a person does. */
async function download(page, as) {
  await page.getByRole("radio", { name: new RegExp(`^${as}`) }).check();
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  return readFile(await file.path());
}

/** Goes on from what was found to the user's page, where the search did not lead there by itself. */
async function reach(page, user) {
  if (!page.url().includes(`/console/users/${user}`)) {
    await page.locator(`a[href="/console/users/${user}"]`).first().click();
    await page.waitForURL(`**/console/users/${user}*`);
  }
}
