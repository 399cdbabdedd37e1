// A headless Chromium, and what is looked at on every page.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const pictures = process.env.COUNTERFOIL_SCREENSHOTS ?? new URL("../../target/browser/", import.meta.url).pathname;
await mkdir(pictures, { recursive: true });

export const DESKTOP = { width: 1280, height: 860 };
export const PHONE = { width: 390, height: 844 };

/** Starts the Chromium that `scripts/browser` has found. Its sandbox does not start for root. */
export function launch() {
  const root = process.getuid?.() === 0;
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: root ? ["--no-sandbox"] : [] });
}

/**
 * A window of its own: no cookies, and a page that fails the test when it loads something from elsewhere, when a policy is violated or when
 * a script fails. `options` are those of a context of Playwright, such as `javaScriptEnabled: false`; `elsewhere` is where it may load from as
 * well.
 */
export async function open(browser, url, { elsewhere = url, ...options } = {}) {
  const context = await browser.newContext({ baseURL: url, viewport: DESKTOP, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("request", (request) => {
    if (![url, elsewhere].some((allowed) => request.url().startsWith(allowed))) page.complaints.push(`loads ${request.url()}`);
  });
  page.on("console", (message) => {
    // The browser's own line for a page with a status of 400 or more, which tests ask for.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) page.complaints.push(message.text());
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  return page;
}

/**
 * Looks at the page as it stands: nothing was complained of, axe finds no violation in light and dark, nothing is wider than a phone or a
 * narrow window of 320 px. Leaves screenshots `NAME-desktop.png`, `NAME-phone.png`, `NAME-dark.png`.
 */
export async function look(page, name) {
  const before = page.viewportSize();
  for (const [suffix, size, scheme] of [
    ["desktop", DESKTOP, "light"],
    ["phone", PHONE, "light"],
    ["dark", DESKTOP, "dark"],
    ["narrow", { width: 320, height: 640 }, "light"],
  ]) {
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme: scheme });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= size.width, `${name}: ${width} px wide in a window of ${size.width}`);
    if (suffix !== "narrow") {
      await page.screenshot({ path: `${pictures}/${name}-${suffix}.png`, fullPage: true });
      await accessible(page, `${name}, ${suffix}`);
    }
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(before);
  assert.deepEqual(page.complaints, [], name);
}

async function accessible(page, name) {
  await page.evaluate(axe);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const { violations } = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: tags }), tags);
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target }) => target).join(", ")}`);
  assert.deepEqual(told, [], name);
}

/** Presses Tab until what has the focus has these words, as somebody without a mouse does. */
export async function tabTo(page, words) {
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      return `${element?.innerText ?? ""} ${element?.getAttribute("aria-label") ?? ""} ${[...(element?.labels ?? [])].map((label) => label.innerText)}`;
    });
    if (focused.includes(words)) {
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      const around = await page.evaluate(() => getComputedStyle(document.activeElement.closest(".title") ?? document.activeElement).outlineStyle);
      assert.ok(outline !== "none" || around !== "none", `${words}: the focus is not seen`);
      return;
    }
  }
  assert.fail(`Tab does not lead to “${words}”`);
}
