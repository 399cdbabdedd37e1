// A gateway in front of an authority, for a test: the real program, enrolled, with a title on sale.

import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { Authority, bin, done, ended, serving } from "./authority.js";

const run = promisify(execFile);

/** A port of the loopback address that is free now. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** An authority that lets gateways in at `private`. */
export async function resold(settings = {}) {
  const listen = `127.0.0.1:${await freePort()}`;
  const authority = await Authority.start({ ...settings, COUNTERFOILD__GATEWAYS__LISTEN: listen });
  authority.private = `https://${listen}`;
  return authority;
}

/** A payment provider on this machine that behaves as Stripe's published API does. */
export class PaymentProvider {
  static async start(authority) {
    const provider = new PaymentProvider();
    const served = await serving("payment-provider", [], authority.path("payment-provider"));
    return Object.assign(provider, served.told, { process: served.process });
  }

  /** What a gateway has to know of it. */
  async settings(authority) {
    const settings = { PUBLISHABLE_KEY: this.publishable_key, API_URL: this.url, SCRIPT_URL: this.script_url };
    for (const [name, secret] of [["SECRET_KEY_FILE", this.secret_key], ["WEBHOOK_SECRET_FILE", this.webhook_secret]]) {
      settings[name] = authority.path(name);
      await writeFile(settings[name], secret, { mode: 0o600 });
    }
    return Object.fromEntries(Object.entries(settings).map(([name, value]) => [`COUNTERFOILD_GATEWAY__PAYMENTS__${name}`, value]));
  }

  stop() {
    return ended(this.process, "SIGINT");
  }
}

export class Gateway {
  /** Registers a reseller at the authority, and starts its gateway with a title at a price such as `9.99 EUR`; `cards` takes its payments. */
  static async start(authority, { title, price, cards }) {
    const gateway = new Gateway();
    gateway.data = authority.path("gateway");
    // One machine stands for many people here.
    gateway.environment = { ...process.env, COUNTERFOILD_GATEWAY__ACCOUNTS__ATTEMPTS_PER_SECOND: "0", COUNTERFOILD_GATEWAY__SERVER__NAME: "Corner Shop" };
    Object.assign(gateway.environment, await cards?.settings(authority));
    const publisher = await authority.publisher();
    const { gateway: id } = JSON.parse(await done(publisher.run("reseller", "new", "Corner Shop", "--share", "30", "--json")));
    await done(publisher.run("reseller", "price", id, title, price));
    const { token } = JSON.parse(await done(publisher.run("reseller", "token", id, "--json")));
    await gateway.run("init", "--authority", authority.private);
    await gateway.run("enrol", token);
    const serve = ["gateway", "serve", "--data", gateway.data, "--listen", "127.0.0.1:0"];
    const served = await serving("counterfoild", serve, gateway.data, gateway.environment);
    gateway.process = served.process;
    gateway.url = served.told.url;
    return gateway;
  }

  /** Runs a command of the gateway's operator; answers with what it prints. */
  async run(...args) {
    const { stdout } = await run(join(bin, "counterfoild"), ["gateway", ...args, "--data", this.data], { env: this.environment });
    return stdout.trim();
  }

  voucher(worth) {
    return this.run("voucher", "make", worth, "--batch", "spring");
  }

  link() {
    return this.run("operator", "link");
  }

  stop() {
    return ended(this.process);
  }
}
