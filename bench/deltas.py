#!/usr/bin/env python3
"""What an update fetches where there is no patch: deltas against whole chunks, a patch and casync, between real versions, through the programs.

    bench/deltas.py [--bin DIR] [--pairs DIRECTORY] [PAIR…]      `cargo build --bins` first; writes its table into docs/performance.md

For each pair the old version is published and installed, the new one published with deltas and no patch, and the device updated. All chunks
are verified, and the largest files compared with what was published.
"""
import argparse
import math
import pathlib
import sys
import tempfile
from importlib.machinery import SourceFileLoader

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import pairs as fetched
import updates

PAIRS = ["typescript", "jupyterlab", "closure-tree", "esbuild", "ruff", "freedoom", "polars"]
five = SourceFileLoader("five", str(HERE.parent / "scripts/five-versions")).load_module()
bench = SourceFileLoader("bench", str(HERE / "run")).load_module()


def measure(bin, at, work):
    """Bytes: casync, chunks, patch, deltas as planned and as fetched; cost of making patch and deltas, and of taking the deltas."""
    place = five.Place(bin, work)
    try:
        title = five.TITLE
        publish = lambda tree, version, *more: place.client("publisher", "publish", tree, "--title", title, "--version", version, *more)
        place.client("publisher", "publisher", "login", "--server", place.url, "--token-file", place.work / "token", "--publisher", "acme")
        publish(at / "old", "1")
        place.client("publisher", "title", "edit", title, "--summary", "a pair", "--price", "0.00 EUR", "--on-sale")
        place.user("device")
        place.client("device", "install", title, "--no-card")
        with_patch, making_patch = publish(at / "new", "2", "--dry-run", "--patches", "1", "--deltas", "0")
        with_deltas, making = publish(at / "new", "2", "--patches", "0", "--deltas", "1")
        said, taking = place.client("device", "update", title, "--no-card")
        compare(place, at)
    finally:
        place.close()
    last = lambda said: (said[-1] if isinstance(said, list) else said)["ways"][0]
    done = five.held(said)
    ours = {"chunks": last(with_patch)["chunks"], "patch": last(with_patch)["patch"], "deltas": last(with_deltas)["deltas"]}
    return ours | {"way": done["way"], "fetched": done["fetched"], "making_patch": making_patch, "making": making, "taking": taking}


def compare(place, at):
    """The largest files, as the device plays them, against what was published; all chunks by their names."""
    place.client("device", "verify", five.TITLE, "--no-card")
    files = sorted((path for path in (at / "new").rglob("*") if path.is_file()), key=lambda path: -path.stat().st_size)[:10]
    for path in files:
        command = [str(place.bin / "counterfoil"), "play", five.TITLE, str(path.relative_to(at / "new")), "--no-card"]
        seen = five.subprocess.run(command, env=place.env("device"), stdout=five.subprocess.PIPE, check=True).stdout
        if seen != path.read_bytes():
            sys.exit(f"error: {path} is not as published")


def text(rows):
    kb = lambda bytes: f"{bytes / 1000:,.0f}" if bytes else "–"
    cost = lambda cost: f"{cost['cpu']:.1f} s, {cost['peak_mb']:.0f} MB"
    sizes = [(name, kb(casync), kb(ours["chunks"]), kb(ours["patch"]), kb(ours["fetched"]), f"{ours['fetched'] / casync:.2f}") for name, casync, ours in rows]
    costs = [(name, cost(ours["making_patch"]), cost(ours["making"]), cost(ours["taking"])) for name, _, ours in rows]
    mean = math.exp(sum(math.log(ours["fetched"] / casync) for _, casync, ours in rows) / len(rows))
    return "\n\n".join([
        "KB that an update fetches where the publisher has made no patch, manifest, index and all included; the same pairs as under Updates. casync 64K: "
        "the chunks that it would fetch, and its index. Chunks: what the update fetched without deltas.",
        bench.table(["pair", "casync 64K", "chunks", "patch", "deltas, fetched", "deltas against casync 64K"], sizes),
        f"Geometric mean against casync 64K: {mean:.2f}.",
        "CPU and peak memory of the programs, compressing, sealing and sending included: to publish with a patch (not sent) · with deltas · to update by deltas.",
        bench.table(["pair", "publish, patch", "publish, deltas", "update, deltas"], costs),
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--bin", type=pathlib.Path, default=HERE.parent / "target/release")
    parser.add_argument("--pairs", type=pathlib.Path, default=updates.PAIRS)
    parser.add_argument("--print", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args()
    sys.argv[1:] = options.names
    rows = []
    for name in options.names or PAIRS:
        at = fetched.fetch(name, options.pairs)
        with tempfile.TemporaryDirectory(prefix="counterfoil-deltas-") as work:
            work = pathlib.Path(work)
            (work / "casync").mkdir()
            casync = updates.Pair(bench, at, work / "casync").casync()[0]
            (work / "place").mkdir()
            rows.append((name, casync, measure(options.bin.resolve(), at, work / "place")))
        print(name, rows[-1][1:], flush=True)
    if not options.print:
        bench.section("Updates without a patch", text(rows), "bench/deltas.py")
    print(text(rows))


if __name__ == "__main__":
    main()
