// A gateway's pages in a browser: an account, a voucher, a receipt, a statement; and the pages of whoever runs it. Without scripts.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { done } from "./lib/authority.js";
import { launch, look, open, tabTo } from "./lib/browser.js";
import { Gateway, PaymentProvider, resold } from "./lib/gateway.js";

const PASSWORD = "correct horse battery";
let authority, cards, gateway, browser;

before(async () => {
  [authority, browser] = await Promise.all([resold(), launch()]);
  await authority.sell("night-garden", { name: "Night Garden", summary: "A garden", prices: [{ amount: 1499, currency: "EUR" }] });
  cards = await PaymentProvider.start(authority);
  gateway = await Gateway.start(authority, { title: "night-garden", price: "9.99 EUR", cards });
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  await cards?.stop();
  await authority?.stop();
});

/** The same session in a window with scripts, where pages can be examined. */
async function beside(page, url) {
  const seen = await open(browser, url);
  await seen.context().addCookies(await page.context().cookies());
  return seen;
}

async function signUp(page, name) {
  await page.goto("/account/sign-up");
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Make an account" }).click();
  await page.getByText("Your account is made.").waitFor();
}

test("c16 c17: a customer makes an account, redeems a voucher, is charged, and prints receipt and statement", async () => {
  const page = await open(browser, gateway.url, { javaScriptEnabled: false });
  await signUp(page, "ada");
  await page.getByLabel("Code").fill(await gateway.voucher("20.00 EUR"));
  await page.getByRole("button", { name: "Redeem" }).click();
  await page.getByText("The voucher is redeemed.").waitFor();
  assert.ok(await page.getByText("20.00 EUR").first().isVisible());

  // Her terminal pays from the same account.
  const device = await authority.device("ada");
  const by = { COUNTERFOIL_PASSWORD: PASSWORD, COUNTERFOIL_SERVER: undefined };
  await done(device.with(by).run("account", "sign-in", gateway.url, "--name", "ada"));
  await done(device.with(by).run("card", "new"));
  await done(device.with(by).run("register", "--via", gateway.url, "--library", device.library));
  await done(device.with(by).run("buy", "night-garden", "--via", gateway.url, "--yes"));

  await page.goto("/account/exchanges");
  await page.getByRole("link", { name: "Night Garden" }).click();
  await page.getByRole("heading", { name: "Receipt for Night Garden" }).waitFor();
  assert.ok(await page.getByText("9.99 EUR").isVisible());
  const receipt = new URL(page.url()).pathname;
  await page.goto("/account/statement");
  for (const words of ["Voucher", "Night Garden", "-9.99", "10.01"]) assert.ok(await page.getByText(words).first().isVisible(), words);

  await page.goto("/account/settings");
  await page.getByLabel("E-mail address").fill("ada@example.org");
  await page.getByLabel("Send me receipts").check();
  await page.getByLabel("Tell me when").fill("5.00 EUR");
  await page.getByRole("button", { name: "Keep" }).click();
  await page.getByText("It is kept.").waitFor();

  const seen = await beside(page, gateway.url);
  for (const [path, name] of [
    ["/account", "gateway-account"],
    ["/account/exchanges", "gateway-receipts"],
    [receipt, "gateway-receipt"],
    ["/account/statement", "gateway-statement"],
    ["/account/settings", "gateway-settings"],
  ]) {
    await seen.goto(path);
    await look(seen, name);
  }
  await page.goto("/account");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("You are signed out.").waitFor();
  assert.deepEqual([...page.complaints, ...seen.complaints], []);
});

test("c17: a customer pays in by card; a card that is refused, and one whose bank asks first", async () => {
  const page = await open(browser, gateway.url, { elsewhere: cards.url });
  await signUp(page, "katherine");
  await page.getByRole("link", { name: "Top up by card" }).click();
  await look(page, "gateway-top-up");
  await page.getByLabel("Amount").fill("20.00");
  await page.getByRole("button", { name: "Go on to the card" }).click();
  await page.getByText("It waits for your card.").waitFor();
  await look(page, "gateway-payment");
  const pay = page.getByRole("button", { name: "Pay 20.00 EUR" });
  await page.getByLabel("Card number").fill("4000 0000 0000 0002".replaceAll(" ", ""));
  await pay.click();
  await page.getByRole("alert").filter({ hasText: "declined" }).waitFor();
  // Another card, whose bank wants to know who pays: first somebody else, then its owner.
  await page.getByLabel("Card number").fill("4000002760003184");
  page.once("dialog", (asked) => asked.dismiss());
  await pay.click();
  await page.getByRole("alert").filter({ hasText: "unable to authenticate" }).waitFor();
  page.once("dialog", (asked) => asked.accept());
  await pay.click();
  await page.getByText("It is paid, and in your account.").waitFor();
  await look(page, "gateway-paid");
  await page.goto("/account");
  assert.ok(await page.getByText("20.00 EUR").first().isVisible());
  assert.deepEqual(page.complaints, []);
});

test("the pages before one is signed in are accessible, and signing in takes a keyboard only", async () => {
  const page = await open(browser, gateway.url);
  await signUp(page, "grace");
  await page.context().clearCookies();
  for (const [path, name] of [
    ["/account/sign-in", "gateway-sign-in"],
    ["/account/sign-up", "gateway-sign-up"],
    ["/account/new-password?link=x", "gateway-new-password"],
    ["/account/nothing", "gateway-problem"],
  ]) {
    await page.goto(path);
    await look(page, name);
  }
  await page.goto("/account/statement");
  await tabTo(page, "Name");
  await page.keyboard.type("grace");
  await tabTo(page, "Password");
  await page.keyboard.type("a wrong password");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
  await tabTo(page, "Password");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/account/statement");
  assert.deepEqual(page.complaints, []);
});

test("c17: whoever runs the gateway gets in by a link, tops up after a second look, and finds everything", async () => {
  const customer = await open(browser, gateway.url, { javaScriptEnabled: false });
  await signUp(customer, "lin");
  const link = await gateway.link();
  const page = await open(browser, new URL(link).origin, { javaScriptEnabled: false });
  await page.goto(link);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByRole("heading", { name: "This gateway" }).waitFor();
  await page.getByRole("link", { name: "Customers" }).click();
  await page.getByLabel("Name, or its beginning").fill("li");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("link", { name: "lin" }).click();
  const account = new URL(page.url()).pathname;
  await page.getByRole("link", { name: "Top up…" }).click();
  await page.getByLabel("Amount that has arrived").fill("50.00");
  await page.getByLabel("Note").fill("cash, receipt 17");
  await page.getByRole("button", { name: "See what is booked" }).click();
  await page.getByRole("heading", { name: "Book 50.00 EUR for lin?" }).waitFor();
  const seen = await beside(page, new URL(link).origin);
  await page.getByRole("button", { name: "Book it" }).click();
  await page.getByText("It is booked.").waitFor();
  await customer.goto("/account");
  assert.ok(await customer.getByText("50.00 EUR").first().isVisible());

  for (const [path, name] of [
    ["/operator", "operator-overview"],
    ["/operator/alerts", "operator-alerts"],
    ["/operator/customers", "operator-customers"],
    [account, "operator-customer"],
    [`${account}/statement`, "operator-statement"],
    [`${account}/top-up`, "operator-top-up"],
    [`${account}/password`, "operator-password"],
    ["/operator/exchanges", "operator-exchanges"],
    ["/operator/payments", "operator-payments"],
    ["/operator/vouchers", "operator-vouchers"],
    ["/operator/books", "operator-books"],
    ["/operator/settlement", "operator-settlement"],
    ["/enter", "operator-enter"],
  ]) {
    await seen.goto(path);
    await look(seen, name);
  }
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto("/operator");
  assert.equal(new URL(page.url()).pathname, "/enter");
  assert.deepEqual([...page.complaints, ...seen.complaints, ...customer.complaints], []);
});
