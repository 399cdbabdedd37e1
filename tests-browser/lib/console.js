// Somebody who works at the console: follows a one-time link, sets up a second step, signs in.

import { createHmac } from "node:crypto";
import { open } from "./browser.js";

export const PASSWORD = "nine brass buttons";

/** What an authenticator app shows (RFC 6238) for a secret in base 32; `step` 1 is the next code. */
export function code(secret, step = 0) {
  const bits = [...secret.replaceAll(/[^A-Z2-7]/g, "")].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + step));
  const hash = createHmac("sha1", key).update(counter).digest();
  const offset = hash.at(-1) & 15;
  return String((hash.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

/** Follows a link, chooses a password, turns one-time codes on: without scripts. Answers with the page of who is signed in then. */
export async function settle(browser, authority, link, email) {
  const page = await open(browser, authority.url, { javaScriptEnabled: false });
  const { pathname, search } = new URL(link);
  await page.goto(pathname + search);
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.waitForURL("**/console/second-step");
  const secret = await page.locator("section", { hasText: "authenticator" }).locator("code").first().innerText();
  await page.getByLabel("Code that the app shows").fill(code(secret));
  await page.getByLabel("Password").first().fill(PASSWORD);
  await page.getByRole("button", { name: "Turn codes on" }).click();
  await page.waitForURL((url) => !url.pathname.endsWith("second-step"));
  page.secret = secret;
  return page;
}

/** The same session in another window, with scripts: for looking at pages. */
export async function beside(browser, authority, page, options = {}) {
  const other = await open(browser, authority.url, options);
  await other.context().addCookies(await page.context().cookies());
  return other;
}

/** How long something takes, in seconds. */
export async function timed(work) {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
}
