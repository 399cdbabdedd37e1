"""Every page of the console over HTTP beside a million media, people and orders, on SQLite and PostgreSQL: a group of `bench/run`.

    bench/console.py BINARIES [ROWS] [ENGINES]     by itself, with programs that are there already; sqlite,postgres

People and media come in by the bulk imports that an operator has (`POST /v1/people`, `POST /v1/batches/{batch}/media`), so that audit log and words of
names are what they would be. Orders with user entry, holder, device, entitlement and license are written into the tables: nobody buys a million times
over HTTP in a benchmark. The pages are asked by somebody of staff who has signed in, with password and one-time code, over kept connections:
one at a time, then 32 at a time, each time for something else; beside the time, the server's CPU for a page, which neighbours on the machine
change less. Load, server and database share the machine.
"""

import base64
import concurrent.futures
import csv
import hashlib
import hmac
import http.client
import io
import json
import os
import pathlib
import random
import re
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from ledger import Cluster

ROOT = pathlib.Path(__file__).resolve().parent.parent
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS = [a + b + c + d for a in ALPHABET for b in ALPHABET for c in ALPHABET for d in ALPHABET]
BATCH = 10_000
PASSWORD = "a bench of its own"
MONTH = 30 * 86_400_000


def number_of(kind, n):
    return int.from_bytes(hashlib.md5(f"{kind}{n}".encode()).digest(), "big")


def identifier(prefix, number):
    """As crates/core/src/id.rs writes one."""
    head = 0
    for byte in prefix.encode():
        head = (head * 32 + (byte & 31)) % 1021
    digits = number << 10 | (head * pow(32, 26, 1021) + number) % 1021
    return prefix + "".join("-" + GROUPS[digits >> shift & 0xFFFFF] for shift in range(120, -1, -20))


def user(n):
    return identifier("usr", number_of("usr", n))


def device(n):
    return identifier("dev", number_of("dev", n))


def order(n):
    return identifier("ord", number_of("ord", n))


def medium(n):
    return f"DISC:{number_of('med', n):032x}"


def syllables(number):
    text = ""
    while True:
        text += "bdfgklmnprst"[number % 12] + "aeiou"[number // 12 % 5]
        number //= 60
        if not number:
            return text.capitalize()


def name(n):
    """A few first and last names are many people's, most are few people's, as in a town."""
    scatter = number_of("name", n)
    first, last = scatter % 10**6 / 10**6, scatter // 10**6 % 10**6 / 10**6
    return f"{('Anna', 'José', 'Zoë', 'John')[scatter % 4] if first < 0.02 else syllables(int(3_000 * first**3))} {syllables(int(100_000 * last**3))}"


class Server:
    """A server with a database of its own."""

    def __init__(self, binaries, directory, database=None):
        self.binaries, self.data, self.database = pathlib.Path(binaries), pathlib.Path(directory) / "server", database
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        more = ["--database", database] if database else []
        said = self.command("init", "--listen", f"127.0.0.1:{self.port}", "--public-url", self.url, "--json", *more)
        self.token = json.loads(said)["token"]
        config = self.data / "counterfoild.toml"
        text = config.read_text()
        # Nothing runs beside what is measured, and nobody is told to come more slowly.
        for section, lines in {"limits": "requests_per_second = 0\ntoken_requests_per_second = 0\n", "audit": "checkpoint_minutes = 0\nverify_hours = 0\n"}.items():
            for line in lines.splitlines():
                text = re.sub(rf"(?m)^#? *{line.split(' ')[0]} *=.*\n", "", text)
            text = text.replace(f"[{section}]\n", f"[{section}]\n{lines}", 1) if f"\n[{section}]\n" in text else f"{text}\n[{section}]\n{lines}"
        config.write_text(text)
        self.log = open(self.data / "log", "ab")
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def command(self, *arguments):
        return subprocess.run([self.binaries / "counterfoild", *arguments, "--data", self.data], check=True, stdout=subprocess.PIPE, text=True).stdout

    def start(self):
        self.process = subprocess.Popen([self.binaries / "counterfoild", "serve", "--data", self.data], stdout=self.log, stderr=self.log)
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None:
                sys.exit(f"error: the server ended; its log is {self.log.name}")
            time.sleep(0.05)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def api(self, method, path, body, kind="application/json"):
        connection = CONNECTIONS.__dict__.setdefault(str(self.port), http.client.HTTPConnection("127.0.0.1", self.port))
        body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind, "Idempotency-Key": f"{random.getrandbits(128):032x}"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"error: {method} {path}: {answer.status} {text.decode()}")
        return json.loads(text) if text else None


CONNECTIONS = threading.local()


class Browser:
    """Somebody of staff: cookies, forms, and one kept connection a thread."""

    def __init__(self, port):
        self.port, self.cookies, self.local = port, {}, threading.local()

    def ask(self, method, path, fields=None):
        connection = self.local.__dict__.get("connection")
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = {"Origin": f"http://127.0.0.1:{self.port}", "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, urllib.parse.urlencode(fields) if fields is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            key, value = cookie.split(";")[0].split("=", 1)
            self.cookies[key] = value
        return answer.status, text, answer.headers.get("Location")

    def sign_in(self, link):
        parts = urllib.parse.urlsplit(link)
        ticket = urllib.parse.parse_qs(parts.query)["ticket"][0]
        status, text, _ = self.ask("POST", "/console/set-up", {"ticket": ticket, "email": "bench@example.org", "password": PASSWORD})
        assert status == 303, text
        page = self.ask("GET", "/console/second-step")[1].decode()
        form, kept = (re.search(rf'name="{field}" value="([^"]*)"', page)[1] for field in ("form", "kept"))
        secret = base64.b32decode((lambda text: text + "=" * (-len(text) % 8))(re.search("<code>(.*?)</code>", page)[1].replace(" ", "")))
        digest = hmac.digest(secret, struct.pack(">Q", int(time.time()) // 30), "sha1")
        code = struct.unpack(">I", digest[digest[-1] & 15 :][:4])[0] & 0x7FFFFFFF
        status, text, _ = self.ask("POST", "/console/second-step", {"form": form, "kept": kept, "code": f"{code % 10**6:06}", "password": PASSWORD})
        assert status == 303, text
        return self


def catalogue(server, rows):
    """A publisher with a title, and the batches that the media are of. A release needs no contents to be listed."""
    home = server.data.parent / "publisher"
    (home / "root/etc/counterfoil").mkdir(parents=True)
    (home / "root/etc/machine-id").write_text(f"{random.getrandbits(128):032x}\n")
    (home / "tree").mkdir()
    (home / "tree/readme.txt").write_text("nothing much\n")
    env = {**os.environ, "COUNTERFOIL_HOME": str(home / "state"), "COUNTERFOIL_HARDWARE_ROOT": str(home / "root"), "COUNTERFOIL_SERVER": server.url}
    for command in (
        ["publisher", "login", "--server", server.url, "--token", server.token, "--publisher", "bench", "--name", "Bench"],
        ["publish", str(home / "tree"), "--title", "night-flight", "--version", "1.0"],
    ):
        subprocess.run([server.binaries / "counterfoil", "--quiet", *command], env=env, check=True, stdout=subprocess.DEVNULL)
    batches = []
    for number in range(-(-rows // BATCH)):
        new = {"titles": [{"title": "night-flight"}], "imported": True, "name": f"Pressing {syllables(number)} {number}"}
        batches.append(server.api("POST", "/v1/batches", new)["batch"])
    return batches


def together(work, items, at_once=4):
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(work, items):
            pass


def imports(server, rows, batches):
    def media(number):
        lines = "".join(json.dumps({"medium_id": medium(n)}) + "\n" for n in range(number * BATCH, min(rows, (number + 1) * BATCH)))
        server.api("POST", f"/v1/batches/{batches[number]}/media", lines, "application/x-ndjson")

    def people(begin):
        lines = "".join(
            json.dumps({"user_id": user(n), "name": name(n), "email": f"person{n}@example.org", "devices": [{"device_id": device(n), "maker": "Bench", "name": "desk"}]}) + "\n"
            for n in range(begin, min(rows, begin + 1000))
        )
        server.api("POST", "/v1/people", lines, "application/x-ndjson")

    begun = time.monotonic()
    together(media, range(len(batches)))
    middle = time.monotonic()
    together(people, range(0, rows, 1000))
    return rows / (middle - begun), rows / (time.monotonic() - middle)


TABLES = {
    "holder": "holder_id kind sign_key seal_key user_id state created_at",
    "user_entry": "user_id holder_id holder_kind sign_key seal_key state created_at generation",
    "user_device": "user_id device_id sign_key seal_key secret name created_at",
    "orders": "user_id order_id title_id device_id kind currency amount payment state actor created_at paid_at ended_at reason",
    "entitlement": "user_id entitlement_id source order_id title_id state policy devices transfers created_at",
    "license": "user_id license_id entitlement_id title_id device_id state moves created_at",
}
POLICY = json.dumps({"devices": 2, "transfers": 2, "transfer_days": 30, "lease_days": 0, "refund_days": 14})


def bought(n, now, policy):
    """What a person with one order leaves in the tables."""
    u, d, o, h = user(n), device(n), order(n), identifier("key", number_of("key", n))
    e, at = identifier("ent", number_of("ent", n)), now - number_of("at", n) % (12 * MONTH)
    state = "due" if n % 1000 == 7 else "ended" if n % 50 == 3 else "paid"
    key = hashlib.sha256(f"key{n}".encode()).digest()
    return {
        "holder": (h, "card", key, key, u, "registered", at),
        "user_entry": (u, h, "card", key, key, "active", at, 0),
        "user_device": (u, d, key, key, key * 2, "desk", at),
        "orders": (u, o, "night-flight", d, "purchase", "EUR", 1999, "balance", state, "/web", at, None if state == "due" else at, at if state == "ended" else None, None),
        "entitlement": (u, e, "order", o, "night-flight", "ended" if state == "ended" else "active", policy, 2, 0, at),
        "license": (u, identifier("lic", number_of("lic", n)), e, "night-flight", d, "ended" if state == "ended" else "registered", 0, at),
    }


def sales(server, rows, policy, step=20_000):
    now = int(time.time() * 1000)
    if not server.database:
        database = sqlite3.connect(server.data / "counterfoil.db", isolation_level=None)
        database.executescript("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000")
    for begin in range(0, rows, step):
        made = [bought(n, now, policy) for n in range(begin, min(rows, begin + step))]
        for table, columns in TABLES.items():
            lines, columns = [one[table] for one in made], columns.split()
            if not server.database:
                database.execute("BEGIN")
                database.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", lines)
                database.execute("COMMIT")
                continue
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([[("\\x" + value.hex()) if isinstance(value, bytes) else value for value in line] for line in lines])
            copy = f"SET synchronous_commit = off; SET session_replication_role = replica;\nCOPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT csv);\n{text.getvalue()}\\.\n"
            subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", server.database], input=copy, check=True, text=True)
        print(f"\r{begin + step}/{rows} orders", end="", file=sys.stderr, flush=True)
    figures = [("", event, day, "", 900 + day % 97) for event in ("claim.granted", "copy.confirmed", "user.exchanged") for day in range(now // 86_400_000 - 364, now // 86_400_000)]
    values = ", ".join(f"('{p}', '{e}', {d}, '{l}', {a})" for p, e, d, l, a in figures)
    sql = f"INSERT INTO figure (publisher_id, name, day, label, amount) VALUES {values}"
    if server.database:
        # As autovacuum leaves it, and in time for what is measured.
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", server.database], input=f"{sql};\nVACUUM (ANALYZE);\nCHECKPOINT;\n", check=True, text=True)
    else:
        database.execute(sql)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
    print(file=sys.stderr)


def pages(rows, batches):
    """Name of a page, and its address for the nth request."""

    def of(path):
        return lambda n: path.format(
            user=user(n % rows), order=order(n % rows), device=device(n % rows), card=identifier("crd", number_of("key", n % rows)), medium=urllib.parse.quote(medium(n % rows), safe=""),
            license=identifier("lic", number_of("lic", n % rows)), batch=batches[n % len(batches)], serial=n % BATCH, n=n % rows,
            at=int(time.time() * 1000) - number_of("at", n) % (12 * MONTH),
        )

    def find(what):
        return lambda n: "/console/search?" + urllib.parse.urlencode({"q": what(n % rows)})

    paths = {
        "overview": "/console", "overview, a year": "/console?days=364",
        "orders": "/console/orders", "orders, somewhere": "/console/orders?after={at}.", "orders to be paid": "/console/orders?state=due", "order": "/console/orders/{user}/{order}",
        "order: refund": "/console/orders/{user}/{order}/refund", "lost cards": "/console/reissues", "titles": "/console/titles", "title": "/console/titles/night-flight",
        "release": "/console/titles/night-flight/releases/1.0", "batches": "/console/batches", "batch": "/console/batches/{batch}", "batch, somewhere": "/console/batches/{batch}?after={serial}",
        "batch: rights": "/console/batches/{batch}/rights", "press": "/console/press", "medium": "/console/media/{medium}", "medium: rights": "/console/media/{medium}/rights",
        "medium: retire": "/console/media/{medium}/retire", "user": "/console/users/{user}", "user: exchange": "/console/users/{user}/exchange", "user: new card": "/console/users/{user}/reissue",
        "user: erase": "/console/users/{user}/erase", "card": "/console/cards/{card}", "card: revoke": "/console/cards/{card}/revoke", "device": "/console/devices/{device}",
        "license: revoke": "/console/users/{user}/licenses/{license}/revoke", "staff": "/console/staff", "tokens": "/console/tokens", "webhooks": "/console/webhooks",
        "audit log": "/console/audit", "audit log of a family": "/console/audit?family={user}", "audit log, of whom": "/console/audit?actor=nobody", "settings": "/console/settings",
        "your sign-in": "/console/security",
    }
    found = {
        "find: a first name that 5,000 have": lambda n: ("anna", "JOSE", "zoé", "john")[n % 4], "find: a whole name": name, "find: last name, three letters": lambda n: name(n).split()[1][:3],
        "find: two first names": lambda n: f"anna {name(n).split()[0]}", "find: a name that nobody has": lambda n: f"qwx{n}", "find: an address": lambda n: f"person{n}@example.org",
        "find: a whole user ID": user, "find: user ID, six characters": lambda n: user(n)[:11], "find: order ID, six characters": lambda n: order(n)[:11],
        "find: medium ID, ten characters": lambda n: medium(n)[:15], "find: device ID, six characters": lambda n: device(n)[:11], "find: a batch's name": lambda n: f"pressing {syllables(n // BATCH)}",
        "find: batch and serial": lambda n: f"{batches[n % len(batches)]} {n % BATCH + 1}", "find: a title": lambda n: "night",
    }
    return {**{title: of(path) for title, path in paths.items()}, **{title: find(what) for title, what in found.items()}}


def measure(browser, address, count, at_once):
    def one(n):
        begun = time.perf_counter()
        status, text, _ = browser.ask("GET", address(n * 7919))
        taken = (time.perf_counter() - begun) * 1000
        # A search for one thing leads to it, one for nobody finds nobody.
        if status not in (200, 303) and not (status == 404 and b"Nothing was found" in text):
            sys.exit(f"error: {address(n * 7919)}: {status} {text.decode()[:2000]}")
        return taken

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, range(at_once)))
        return sorted(pool.map(one, range(at_once, at_once + count)))


def cpu_of(pid):
    """CPU seconds of a process so far."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def part(taken, share):
    return taken[min(len(taken) - 1, int(len(taken) * share))]


def console(binaries, rows, engines, seen=print):
    """For each engine: what filling it took, and rows of a table: page, p50/p95/p99 one at a time and 32 at a time."""
    results = {}
    for engine in engines:
        with tempfile.TemporaryDirectory(prefix="counterfoil-console.", dir=ROOT / "target") as work:
            os.chmod(work, 0o755)
            cluster = None
            if engine == "postgres":
                place = pathlib.Path(tempfile.mkdtemp(prefix="counterfoil-console-pg."))
                place.rmdir()
                cluster = Cluster(place)
            server = Server(binaries, work, cluster and cluster.fresh())
            try:
                server.start()
                batches = catalogue(server, rows)
                rates = imports(server, rows, batches)
                server.stop()
                sales(server, rows, POLICY)
                server.start()
                browser = Browser(server.port).sign_in(json.loads(server.command("staff", "link", "--json"))["link"])
                filled = f"{rows:,} media at {rates[0]:,.0f}/s, {rows:,} people with a device each at {rates[1]:,.0f}/s"
                lines = []
                for title, address in pages(rows, batches).items():
                    alone, crowd = measure(browser, address, 100, 1), measure(browser, address, 640, 32)
                    before = cpu_of(server.process.pid)
                    measure(browser, address, 199, 1)
                    cpu = (cpu_of(server.process.pid) - before) * 1000 / 200
                    lines.append((title, *(f"{part(taken, share):.1f}" for taken in (alone, crowd) for share in (0.5, 0.95, 0.99)), f"{cpu:.1f}"))
                    seen(f"{engine}: {' | '.join(lines[-1])}")
                results[engine] = (filled, lines)
            finally:
                server.stop()
                if cluster:
                    cluster.script("stop")
    return results


HEAD = ["page", "alone: p50", "p95", "p99", "32 at a time: p50", "p95", "p99", "CPU"]

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    console(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000, (sys.argv[3] if len(sys.argv) > 3 else "sqlite,postgres").split(","))
