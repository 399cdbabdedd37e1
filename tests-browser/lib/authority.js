// An authority of its own for a test, with publishers, titles and devices: the real programs in a directory that goes with it.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, watch } from "node:fs";
import { chmod, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { deflateSync } from "node:zlib";

const run = promisify(execFile);
export const bin = process.env.COUNTERFOIL_BIN ?? new URL("../../target/debug", import.meta.url).pathname;

export class Authority {
  /** Makes an authority and starts it on a free port. `settings` are environment variables of the server. */
  static async start(settings = {}) {
    const authority = new Authority();
    authority.directory = await mkdtemp(join(tmpdir(), "counterfoil-browser-"));
    authority.environment = { ...process.env, ...settings };
    const data = authority.path("server");
    const made = await run(join(bin, "counterfoild"), ["init", "--data", data, "--json"], { env: authority.environment });
    ({ token: authority.token, console_link: authority.consoleLink } = JSON.parse(made.stdout));
    const serve = ["serve", "--data", data, "--listen", "127.0.0.1:0"];
    const served = await serving("counterfoild", serve, authority.path("server"), authority.environment);
    authority.process = served.process;
    authority.url = served.told.url;
    return authority;
  }

  /** Does something while the server stands still and answers nobody. */
  async offline(work) {
    this.process.kill("SIGSTOP");
    try {
      return await work();
    } finally {
      this.process.kill("SIGCONT");
    }
  }

  path(...parts) {
    return join(this.directory, ...parts);
  }

  async stop() {
    await ended(this.process);
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Asks the API as the operator; throws what the server says where it refuses. */
  async api(method, path, body, type = "application/json") {
    const headers = { authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers["content-type"] = type;
    const bytes = body === undefined || body instanceof Uint8Array ? body : JSON.stringify(body);
    const answer = await fetch(this.url + path, { method, headers, body: bytes });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** A device with a home of its own; `hardware` tells it from others. */
  async device(name, hardware = `${name}'s computer`) {
    const [home, root] = [this.path(name, "home"), this.path(name, "root")];
    await mkdir(join(root, "etc/counterfoil"), { recursive: true });
    await writeFile(join(root, "etc/counterfoil/device-id"), hardware);
    await writeFile(join(root, "etc/counterfoil/drive-id"), `${name}'s drive`);
    const env = { ...this.environment, COUNTERFOIL_HOME: home, COUNTERFOIL_HARDWARE_ROOT: root, COUNTERFOIL_SERVER: this.url };
    const runs = (env) => (...args) =>
      run(join(bin, "counterfoil"), args, { env }).then(
        ({ stdout, stderr }) => ({ status: 0, stdout, stderr }),
        ({ code, stdout, stderr }) => ({ status: code, stdout, stderr }),
      );
    return {
      home,
      library: this.path(name, "library"),
      /** Runs a command to its end: status, standard output, standard error. */
      run: runs(env),
      /** The same with other environment variables; undefined takes one away. */
      with: (changes) => ({ run: runs({ ...env, ...changes }) }),
    };
  }

  /** Publishes a small program as a title, lists it and puts pictures to it. */
  async sell(title, { name, summary = "", description = "", prices = [], policy = {}, pictures = [] }) {
    const publisher = await this.publisher();
    const tree = this.path("trees", title);
    await mkdir(tree, { recursive: true });
    await writeFile(join(tree, "start"), `#!/bin/sh\necho "${title} runs"\n`);
    await chmod(join(tree, "start"), 0o755);
    await done(publisher.run("publish", tree, "--title", title, "--name", name, "--version", "1.0.0", "--entry", "start", "--kind", "game"));
    await this.api("PUT", `/v1/titles/${title}/listing`, { summary, description, on_sale: true, prices, policy });
    for (const [index, { alt, hue }] of pictures.entries()) {
      await this.api("PUT", `/v1/titles/${title}/pictures/${index + 1}?alt=${encodeURIComponent(alt)}`, picture(hue), "image/png");
    }
  }

  async publisher() {
    if (!this.publishing) {
      this.publishing = await this.device("publisher");
      const login = ["publisher", "login", "--server", this.url, "--token", this.token, "--publisher", "acme", "--name", "Acme Games"];
      await done(this.publishing.run(...login));
    }
    return this.publishing;
  }
}

/** What a command said, where it did what it should. */
export async function done(running) {
  const ended = await running;
  if (ended.status !== 0) throw new Error(`exit status ${ended.status}: ${ended.stdout}${ended.stderr}`);
  return ended.stdout;
}

/** Starts a program that serves, and waits until it says where; it writes `PLACE.log` and `PLACE-ready.json`. Answers with what that file tells. */
export async function serving(program, args, place, env = process.env) {
  const ready = `${place}-ready.json`;
  const appears = appearance(ready);
  const log = await open(`${place}.log`, "a");
  const child = spawn(join(bin, program), [...args, "--ready-file", ready], { env, stdio: ["ignore", log.fd, log.fd] });
  await log.close();
  const ends = once(child, "exit").then(async ([status]) => {
    throw new Error(`${program} ended: ${status}\n${await readFile(`${place}.log`, "utf8")}`);
  });
  await Promise.race([appears, ends]);
  ends.catch(() => {});
  return { process: child, told: JSON.parse(await readFile(ready, "utf8")) };
}

/** Ends such a program, where it has not ended yet. */
export async function ended(child, signal = "SIGTERM") {
  if (child.exitCode === null) {
    child.kill(signal);
    await once(child, "exit");
  }
}

/** When a file is there; the server writes it in one go. */
async function appearance(path) {
  const watcher = watch(dirname(path));
  try {
    while (!existsSync(path)) await once(watcher, "change");
  } finally {
    watcher.close();
  }
}

/** A PNG of 640 by 400: hills of a colour under a sky. `hue` 0 to 2. */
export function picture(hue) {
  const [width, height] = [640, 400];
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const hill = 260 + 60 * Math.sin(x / 70 + hue) + 25 * Math.sin(x / 23);
      const light = y < hill ? 235 - y / 3 : 130 - (y - hill) / 4;
      const at = y * (1 + width * 3) + 1 + x * 3;
      for (let channel = 0; channel < 3; channel++) rows[at + channel] = light * (channel === hue ? 1 : y < hill ? 0.75 : 0.5);
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, part("IHDR", head), part("IDAT", deflateSync(rows)), part("IEND", Buffer.alloc(0))]);
}

function part(type, data) {
  const body = Buffer.concat([Buffer.from(type), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
