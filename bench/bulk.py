"""Pressing beside hashing and writing the same bytes, and bulk import beside what a database takes by hand: groups of `bench/run`, whose tools they are given."""

import contextlib
import csv
import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import time
import urllib.request


def press(bench, work, runs, count):
    """Identity areas as for a replication plant, which presses one content area for all."""
    here = bench.Installation(work / "press")
    tree = work / "press/tree"
    tree.mkdir()
    (tree / "program").write_text("small: what is pressed here are identities")
    here.client("publisher", "publish", tree, "--title", "bulk", "--version", "1")
    sizes = []

    def pressed(number):
        out = work / f"press/out{number}"
        figures = here.client("publisher", "press", "--title", "bulk", "--count", count, "--as", "identity", "--out", out)
        files = [path for path in out.rglob("*") if path.is_file()]
        sizes.append((len(files), sum(path.stat().st_size for path in files)))
        return figures

    def by_hand(number):
        """The same files: read before it begins, hashed, and written one after the other."""
        out = work / f"press/out{number}"
        files = [(path.relative_to(out), path.read_bytes()) for path in sorted(out.rglob("*")) if path.is_file()]
        to = work / "press/hand"
        begun = time.monotonic()
        for name, data in files:
            hashlib.sha256(data).digest()
            file = to / name
            if not file.parent.exists():
                file.parent.mkdir(parents=True)
            with open(file, "wb") as out_file:
                out_file.write(data)
        seconds = time.monotonic() - begun
        shutil.rmtree(to)
        shutil.rmtree(out)
        return 0, seconds, 0

    seen = bench.paired(runs, press=pressed, hand=by_hand)
    here.close()
    files, size = sizes[-1]
    rate = count / bench.median(seen, "press", 1)
    return [(f"press of {count:,} identities ({files:,} files, {size / 2**20:.1f} MiB)", "hashing and writing the same files in a loop", "≥ 0.5×", f"{1 / bench.ratio(seen, 'press', 'hand', 1):.2f}×; {rate:,.0f}/s")]


def imports(bench, work, runs, count):
    at = bench.Claims()
    rows = []
    for engine in ("SQLite", "PostgreSQL"):
        with at.database() if engine == "PostgreSQL" else contextlib.nullcontext() as url:
            here = bench.Installation(work / f"import-{engine}", database=url)
            tree = work / f"import-{engine}/tree"
            tree.mkdir()
            (tree / "program").write_text("small")
            here.client("publisher", "publish", tree, "--title", "bulk", "--version", "1")

            def imported(number):
                batch = call(here.url, here.token, "/v1/batches", {"titles": [{"title": "bulk"}], "imported": True})["batch"]
                table = work / "serials.csv"
                with open(table, "w", newline="") as file:
                    lines = csv.writer(file)
                    lines.writerow(["medium_id"])
                    lines.writerows([f"DISC-{number:03}-{serial:09}"] for serial in range(count))
                begun = time.monotonic()
                here.client("publisher", "import", "media", table, "--batch", batch)
                return 0, time.monotonic() - begun, 0

            def by_hand(number):
                like = f"DISC-{number:03}-%"
                seconds = copied(at, url, like, work / "rows.csv") if url else inserted(here.data / "counterfoil.db", like, work / "hand.db")
                return 0, seconds, 0

            seen = bench.paired(runs, imported=imported, hand=by_hand)
            here.close()
        against = "`COPY` of the same rows, foreign key and all" if engine == "PostgreSQL" else "the same rows in one transaction of inserts"
        rate = count / bench.median(seen, "imported", 1)
        rows.append((f"import of {count:,} media on {engine}", against, "≥ 0.4×", f"{1 / bench.ratio(seen, 'imported', 'hand', 1):.2f}×; {rate:,.0f}/s"))
    return rows


def call(url, token, path, body):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": os.urandom(8).hex()}
    with urllib.request.urlopen(urllib.request.Request(url + path, json.dumps(body).encode(), headers)) as answer:
        return json.load(answer)


def inserted(database, like, place):
    """The rows of an import, put into a table like theirs by hand, durable: seconds."""
    pathlib.Path(place).unlink(missing_ok=True)
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as source:
        shape = [sql for (sql,) in source.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'medium' AND sql IS NOT NULL ORDER BY type = 'index'")]
        rows = source.execute("SELECT * FROM medium WHERE medium_id LIKE ?", (like,)).fetchall()
    to = sqlite3.connect(place, isolation_level=None)
    to.execute("PRAGMA journal_mode = WAL")
    to.execute("PRAGMA synchronous = FULL")
    for sql in shape:
        to.execute(sql)
    assert rows, "nothing was imported"
    places = ", ".join("?" * len(rows[0]))
    begun = time.monotonic()
    to.execute("BEGIN")
    to.executemany(f"INSERT INTO medium VALUES ({places})", rows)
    to.execute("COMMIT")
    seconds = time.monotonic() - begun
    to.close()
    return seconds


def copied(at, url, like, file):
    """The same with COPY: seconds. LIKE takes no foreign keys along, which take as long again as the rows."""
    name = url.rsplit("/", 1)[1]
    at.psql(f"\\copy (SELECT * FROM medium WHERE medium_id LIKE '{like}') TO '{file}' CSV", name)
    assert os.path.getsize(file), "nothing was imported"
    at.psql("DROP TABLE IF EXISTS hand; CREATE TABLE hand (LIKE medium INCLUDING ALL, FOREIGN KEY (batch_id) REFERENCES batch)", name)
    begun = time.monotonic()
    at.psql(f"\\copy hand FROM '{file}' CSV", name)
    return time.monotonic() - begun
