"""Exchanges through a gateway against direct claims of the same authority: a group of `bench/run`, whose harness it is given.

    bench/exchange.py DIRECTORY RUNS [EXCHANGES]     by itself, with the harness and counterfoild in DIRECTORY; PostgreSQL where COUNTERFOIL_TEST_POSTGRES is set
"""

import contextlib
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys


@contextlib.contextmanager
def database(cluster):
    """An empty database of that cluster."""
    base, name = cluster.rsplit("/", 1)[0], f"exchange_{os.getpid()}_{random.getrandbits(32)}"
    psql = lambda sql: subprocess.run(["psql", "-qX", f"{base}/postgres", "-c", sql], check=True)
    psql(f"CREATE DATABASE {name}")
    try:
        yield f"{base}/{name}"
    finally:
        psql(f"DROP DATABASE {name} WITH (FORCE)")


def once(binaries, terminals, exchanges, url=None):
    command = [binaries / "harness", "--counterfoild", binaries / "counterfoild", "--terminals", terminals, "exchanges", "--exchanges", exchanges]
    if url:
        command += ["--database", url]
    out = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def exchange(binaries, runs, exchanges):
    """Rows of a table. Each run measures all ways in turn, so that what the machine does meanwhile happens to all of them."""
    cluster = os.environ.get("COUNTERFOIL_TEST_POSTGRES")
    seen = {}
    for _ in range(runs):
        for terminals in (1, 32):
            count = exchanges if terminals > 1 else max(50, exchanges // 8)
            seen.setdefault(("SQLite", terminals), []).append(once(binaries, terminals, count))
            if cluster:
                with database(cluster) as url:
                    seen.setdefault(("PostgreSQL", terminals), []).append(once(binaries, terminals, count, url))
    rows = []
    for (engine, terminals), figures in seen.items():
        many = f"{terminals} terminal" + ("s" if terminals > 1 else "")

        def median(way, what):
            return statistics.median(figure[way][what] for figure in figures)

        def ratio(way, what):
            return statistics.median(figure[way][what] / figure["direct"][what] for figure in figures)

        for way, name in (("agreed", "price agreed to"), ("asked", "price asked for first, two requests")):
            cpu = f"{median(way, 'authority_cpu_us'):.0f} µs of the authority's CPU and {median(way, 'gateway_cpu_us'):.0f} µs of the gateway's"
            rows.append((
                f"exchange on {engine}, {many}, {name}",
                f"direct claim, p50 {median('direct', 'p50_ms'):.1f} ms, {median('direct', 'per_second'):.0f}/s, {median('direct', 'authority_cpu_us'):.0f} µs",
                "latency ≤ 3×",
                f"{ratio(way, 'p50_ms'):.2f}×; p50 {median(way, 'p50_ms'):.1f} ms, p99 {median(way, 'p99_ms'):.1f} ms, {median(way, 'per_second'):.0f}/s, {cpu}",
            ))
    return rows


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for row in exchange(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 2000):
        print("| " + " | ".join(row) + " |")
