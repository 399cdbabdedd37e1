"""Ledger postings against `pgbench` (TPC-B-like) and against a durable commit for each: a group of `bench/run`, whose tools it is given.

    bench/ledger.py PROGRAM     by itself, with the example `ledger` that is there already
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLIENTS = 32


def postings(program, database, seconds, *options):
    command = [program, database, "--seconds", seconds, "--clients", CLIENTS, *options]
    return json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)["per_second"]


class Cluster:
    """A PostgreSQL of its own, with fsync."""

    def __init__(self, directory):
        self.env = {**os.environ, "COUNTERFOIL_POSTGRES_DIR": str(directory)}
        self.url = self.script("start")
        self.number = 0

    def script(self, verb):
        return subprocess.run([ROOT / "scripts/postgres", verb], env=self.env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def fresh(self):
        self.number += 1
        name = f"ledger_{self.number}"
        subprocess.run(["psql", "-qX", self.url, "-c", f"CREATE DATABASE {name}"], check=True)
        return re.sub(r"/[^/?]*(\?|$)", rf"/{name}\1", self.url, count=1) if self.url.count("/") == 3 else self.url.rsplit("/", 1)[0] + "/" + name


def pgbench(url, seconds):
    binary = next((str(path) for path in sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench"))), "pgbench")
    out = subprocess.run([binary, "-n", "-c", str(CLIENTS), "-j", "2", "-M", "prepared", "-T", str(seconds), url], check=True, capture_output=True, text=True).stdout
    return float(re.search(r"tps = ([0-9.]+)", out)[1])


def ledger(program, runs, seconds=8):
    seen = {name: [] for name in ("sqlite", "sqlite one by one", "postgres", "pgbench")}
    with tempfile.TemporaryDirectory(prefix="counterfoil-ledger.", dir=ROOT / "target") as work:
        os.chmod(work, 0o755)
        place = pathlib.Path(tempfile.mkdtemp(prefix="counterfoil-ledger-pg."))
        place.rmdir()
        cluster = Cluster(place)
        try:
            tpcb = cluster.fresh()
            binary = next((str(path) for path in sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench"))), "pgbench")
            subprocess.run([binary, "-i", "-q", "-s", str(CLIENTS), tpcb], check=True, capture_output=True)
            for number in range(runs):
                seen["sqlite"].append(postings(program, f"sqlite:{work}/together-{number}.db", seconds))
                seen["sqlite one by one"].append(postings(program, f"sqlite:{work}/alone-{number}.db", seconds, "--batch", 1))
                seen["postgres"].append(postings(program, cluster.fresh(), seconds))
                seen["pgbench"].append(pgbench(tpcb, seconds))
        finally:
            cluster.script("stop")
    median = {name: statistics.median(figures) for name, figures in seen.items()}

    def ratio(a, b):
        return statistics.median(x / y for x, y in zip(seen[a], seen[b]))

    return [
        ("ledger postings on SQLite", f"one durable commit each, {CLIENTS} clients", "≥ 4×", f"{ratio('sqlite', 'sqlite one by one'):.2f}×; {median['sqlite']:.0f}/s against {median['sqlite one by one']:.0f}/s"),
        ("ledger postings on PostgreSQL, with fsync", f"`pgbench` TPC-B-like, scale {CLIENTS}, {CLIENTS} clients", "≥ 0.7×", f"{ratio('postgres', 'pgbench'):.2f}×; {median['postgres']:.0f}/s against {median['pgbench']:.0f}/s"),
    ]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for row in ledger(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1):
        print(" | ".join(row))
