// Accounts, devices, buying and moving in a browser: without scripts, on a phone, by keyboard; passkeys with Chromium's virtual authenticator.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority, done } from "./lib/authority.js";
import { launch, look, open, tabTo } from "./lib/browser.js";

const PASSWORD = "correct horse battery";
let authority, browser;

before(async () => {
  // One machine stands for many people here.
  [authority, browser] = await Promise.all([Authority.start({ COUNTERFOILD__ACCOUNTS__ATTEMPTS_PER_SECOND: "0" }), launch()]);
  await authority.sell("sky-raider", {
    name: "Sky Raider",
    summary: "Fly through canyons that nobody has charted",
    prices: [{ amount: 1999, currency: "EUR" }],
    policy: { devices: 1, trial_days: 7, transfers: 2, transfer_days: 30, refund_days: 14 },
  });
});

after(async () => {
  await browser?.close();
  await authority?.stop();
});

/** A person with a registered device: the device, and the user ID that it was told. */
async function person(name) {
  const device = await authority.device(name);
  return { device, user: JSON.parse(await done(device.run("register", "--json"))).user_id };
}

async function signUp(page, user, email) {
  await page.goto("/account/sign-up");
  await page.getByLabel("User ID").fill(user);
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Make an account" }).click();
  await page.getByRole("heading", { name: "Your account is made" }).waitFor();
}

test("d2: signed up, bought, announced and moved without scripts, on pages that are accessible", async () => {
  const { user } = await person("ada");
  const page = await open(browser, authority.url, { javaScriptEnabled: false });
  const seen = await open(browser, authority.url);
  await signUp(page, user, "ada@example.org");
  assert.equal(await page.getByRole("list", { name: "Recovery codes" }).getByRole("listitem").count(), 10);
  await page.getByRole("link", { name: "I have kept them" }).click();
  await page.goto("/store/sky-raider");
  await page.getByRole("link", { name: "Buy", exact: false }).first().click();
  await page.getByRole("button", { name: "Buy now" }).click();
  assert.match(page.url(), /\/account\/orders\/ord-/);
  assert.ok(await page.getByText("It is yours.").isVisible());
  const order = new URL(page.url()).pathname;
  const laptop = await authority.device("laptop");
  const id = JSON.parse(await done(laptop.run("status", "--json"))).device.id;
  await page.goto("/devices");
  await page.getByLabel("Device ID").fill(id);
  await page.getByLabel("Name").fill("The laptop");
  await page.getByRole("button", { name: "Announce it" }).click();
  assert.ok(await page.getByText("not registered yet").isVisible());
  await done(laptop.run("register", "--user", user, "--name", "The laptop"));
  await page.goto("/devices");
  await page.getByRole("link", { name: "Move to another device" }).first().click();
  await page.getByLabel("Sky Raider").check();
  await page.getByLabel("The laptop").check();
  await page.getByRole("button", { name: "See what will happen" }).click();
  assert.ok(await page.getByRole("heading", { name: "This will happen" }).isVisible());
  const preview = page.url();
  // The same pages in a window with scripts, where they can be examined.
  await seen.context().addCookies(await page.context().cookies());
  for (const [path, name] of [
    ["/account", "account"],
    ["/account/security", "security"],
    ["/account/codes", "codes"],
    [order, "order"],
    ["/devices", "devices"],
    ["/store/sky-raider/buy", "buy"],
    ["/transfer", "transfer-source"],
    [`/transfer?${new URL(preview).searchParams}`, "transfer"],
    [preview, "transfer-preview"],
  ]) {
    await seen.goto(path);
    await look(seen, name);
  }
  await page.getByRole("button", { name: "Move now" }).click();
  assert.ok(await page.getByText("It is done.").isVisible());
  await page.goto(order);
  await page.getByRole("button", { name: "Give Sky Raider back" }).click();
  assert.ok(await page.getByText("given back").first().isVisible());
  await page.goto("/account");
  await page.getByRole("button", { name: "Sign out" }).click();
  assert.ok(await page.getByText("You are signed out.").isVisible());
  assert.deepEqual([...page.complaints, ...seen.complaints], []);
});

test("the pages before one is signed in are accessible, and signing in takes a keyboard only", async () => {
  const { user } = await person("grace");
  const page = await open(browser, authority.url);
  for (const [path, name] of [
    ["/account/sign-in", "sign-in"],
    ["/account/sign-up", "sign-up"],
    ["/account/forgotten", "forgotten"],
    ["/shop", "shop-sign-in"],
  ]) {
    await page.goto(path);
    await look(page, name);
  }
  await signUp(page, user, "grace@example.org");
  await look(page, "recovery-codes");
  await page.context().clearCookies();
  await page.goto("/devices");
  assert.equal(new URL(page.url()).pathname, "/account/sign-in");
  await tabTo(page, "E-mail address");
  await page.keyboard.type("grace@example.org");
  await tabTo(page, "Password");
  await page.keyboard.type("a wrong password");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
  await look(page, "sign-in-refused");
  await tabTo(page, "Password");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/devices");
  assert.deepEqual(page.complaints, []);
});

test("a passkey is made, gets in without a password, once for each challenge, and is removed", async () => {
  const { user } = await person("mary");
  // Browsers make passkeys for names, and not for bare addresses.
  const page = await open(browser, authority.url.replace("127.0.0.1", "localhost"));
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const options = { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", { options });
  await signUp(page, user, "mary@example.org");
  await page.goto("/account/security");
  const passkeys = page.getByRole("region", { name: "Passkeys" });
  await passkeys.getByLabel("Name of a new passkey").fill("My phone");
  await passkeys.getByLabel("Password").fill("a wrong password");
  await passkeys.getByRole("button", { name: "Make a passkey" }).click();
  await passkeys.getByText("The password is wrong").waitFor();
  await passkeys.getByLabel("Password").fill(PASSWORD);
  await passkeys.getByRole("button", { name: "Make a passkey" }).click();
  await page.getByText("The passkey is kept.").waitFor();
  assert.equal((await devtools.send("WebAuthn.getCredentials", { authenticatorId })).credentials.length, 1);
  await look(page, "security-passkey");
  await page.context().clearCookies();

  await page.goto("/devices");
  const sent = page.waitForRequest((request) => request.url().endsWith("/account/sign-in/passkey"));
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  const body = (await sent).postData();
  await page.waitForURL("**/devices");
  // What was signed once gets nobody in again, here or elsewhere.
  const origin = new URL(page.url()).origin;
  const post = (body, from = origin) => fetch(`${authority.url}/account/sign-in/passkey`, { method: "POST", headers: { "content-type": "application/json", origin: from }, body });
  const again = await post(body, authority.url);
  assert.equal(again.status, 422);
  assert.equal(again.headers.get("set-cookie"), null);
  assert.equal((await post(body, "https://evil.example")).status, 403);

  await page.goto("/account/security");
  await page.getByRole("button", { name: "Remove the passkey My phone" }).click();
  await page.getByText("The passkey is removed.").waitFor();
  await page.context().clearCookies();
  await page.goto("/account/sign-in");
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await page.getByText("The passkey was not accepted.").waitFor();
  assert.deepEqual(page.complaints, []);
});

test("d1: a shop registers a buyer with a form", async () => {
  const token = (await authority.api("POST", "/v1/tokens", { role: "shop", tenant: "corner", name: "Corner Shop" })).token;
  const page = await open(browser, authority.url);
  await page.goto("/shop");
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await look(page, "shop");
  const device = await authority.device("sold");
  await page.getByLabel("Name", { exact: true }).fill("Ada Lovelace");
  await page.getByLabel("Device ID").fill(JSON.parse(await done(device.run("status", "--json"))).device.id);
  await page.getByRole("button", { name: "Register" }).click();
  await page.getByRole("heading", { name: "Registered", exact: true }).waitFor();
  await look(page, "shop-registered");
  const user = await page.locator("strong.code").innerText();
  await done(device.run("register", "--user", user));
  assert.deepEqual(page.complaints, []);
});
