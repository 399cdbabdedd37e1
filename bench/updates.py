#!/usr/bin/env python3
"""Sizes, CPU time and memory of differences between real versions, against peers in one run: a group of `bench/run`.

    bench/updates.py [--pairs DIRECTORY] [--slow] [--quick] [PAIR…]

By itself it prints the table and puts it into docs/performance.md. Peers: zstd, bsdiff, xdelta3 and casync from Debian's packages, and
HDiffPatch (hdiffz, hpatchz), on PATH or where HDIFFPATCH says; one that is missing is left out of the table. Peers that take minutes and
much memory (bsdiff, zstd -19) go over trees beyond 64 MB only with --slow. --quick takes one small pair.
"""
import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import pairs as fetched

QUICK = ["jupyterlab-wheel"]
ALL = ["typescript", "jupyterlab", "jupyterlab-wheel", "closure-tree", "closure", "esbuild", "ruff", "ruff-wheel", "freedoom", "typescript-tgz", "polars", "polars-wheel", "tiny"]
BIG = 64 << 20
# Where pairs are fetched to.
PAIRS = pathlib.Path(os.environ.get("COUNTERFOIL_PAIRS", tempfile.gettempdir() + "/pairs"))
PEERS = ["zstd -19", "zstd -19 --patch-from", "bsdiff", "xdelta3 -9", "HDiffPatch", "casync 64K", "ours"]
# Pairs of containers, and the pairs that hold the same, unpacked.
CONTAINERS = {"jupyterlab-wheel", "ruff-wheel", "polars-wheel", "closure", "typescript-tgz"}
UNPACKED = {"jupyterlab-wheel": "jupyterlab", "ruff-wheel": "ruff", "polars-wheel": "polars", "closure": "closure-tree"}


class Pair:
    """One pair in a directory of its own: trees, and the same as tar files for peers that know only files."""

    def __init__(self, bench, at, work):
        self.bench, self.at, self.work = bench, at, work
        self.old, self.new = at / "old", at / "new"
        for side in (self.old, self.new):
            tar = work / f"{side.name}.tar"
            subprocess.run(["tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-C", side, "-cf", tar, "."], check=True)
        self.old_tar, self.new_tar = work / "old.tar", work / "new.tar"
        self.patch, self.out = work / "patch", work / "out"


    def measure(self, make, apply, size=None):
        """(bytes, CPU seconds to make, peak MB, CPU seconds to apply, peak MB); what was applied must be the new version."""
        for path in (self.patch, self.out):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        making = make()
        applying = apply()
        same = ["diff", "-r", self.new, self.out] if self.out.is_dir() else ["cmp", self.new_tar, self.out]
        subprocess.run(same, check=True, stdout=subprocess.DEVNULL)
        return size() if size else self.patch.stat().st_size, making[0], making[2], applying[0], applying[2]

    def make(self, engine):
        """Measures the engine: the example writes names plainly, in a release the manifest has them, so they do not count."""
        told = self.work / "told"
        with open(told, "wb") as out:
            figures = self.bench.run(engine, "diff", self.old, self.new, self.patch, out=out)
        self.engine_size = int(next(line.split()[1] for line in told.read_text().splitlines() if line.startswith("all")))
        return figures

    def sides(self, engine):
        run, patch, out, old, new, old_tar, new_tar = self.bench.run, self.patch, self.out, self.old, self.new, self.old_tar, self.new_tar
        hdiff = pathlib.Path(os.environ.get("HDIFFPATCH", "."))
        hdiffz, hpatchz = (shutil.which(name) or shutil.which(hdiff / name) for name in ("hdiffz", "hpatchz"))
        given = {
            "zstd -19": (lambda: run("zstd", "-19", "-q", "-f", new_tar, "-o", patch), lambda: run("zstd", "-d", "-q", "-f", patch, "-o", out)),
            "zstd -19 --patch-from": (
                lambda: run("zstd", "-19", "--long=31", "-q", "-f", f"--patch-from={old_tar}", new_tar, "-o", patch),
                lambda: run("zstd", "-d", "--long=31", "-q", "-f", f"--patch-from={old_tar}", patch, "-o", out),
            ),
            "bsdiff": (lambda: run("bsdiff", old_tar, new_tar, patch), lambda: run("bspatch", old_tar, out, patch)),
            "xdelta3 -9": (
                lambda: run("xdelta3", "-e", "-9", "-f", "-B", 1 << 29, "-s", old_tar, new_tar, patch),
                lambda: run("xdelta3", "-d", "-f", "-B", 1 << 29, "-s", old_tar, patch, out),
            ),
            "HDiffPatch": (
                lambda: run(hdiffz, "-m-6", "-SD", "-c-lzma2-9-64m", "-f", old, new, patch),
                lambda: run(hpatchz, "-f", old, patch, f"{out}/"),
            ),
            "ours": (lambda: self.make(engine), lambda: run(engine, "apply", old, patch, out)),
        }
        commands = {"zstd -19": "zstd", "zstd -19 --patch-from": "zstd", "bsdiff": "bsdiff", "xdelta3 -9": "xdelta3", "HDiffPatch": hdiffz, "ours": engine}
        return {name: side for name, side in given.items() if commands[name] and shutil.which(commands[name])}

    def casync(self):
        """What of the new version's chunks the old one lacks, and the index."""
        stores = {}
        for side in ("old", "new"):
            # Names and bytes alone, as in a release: times and owners are no part of one.
            options = ["--chunk-size=65536", f"--store={self.work / side}.castr", "--without=all"]
            making = self.bench.run("casync", "make", *options, f"{self.work / side}.caidx", self.at / side)
            stores[side] = {path.name: path.stat().st_size for path in (self.work / f"{side}.castr").rglob("*.cacnk")}
        size = sum(length for name, length in stores["new"].items() if name not in stores["old"]) + (self.work / "new.caidx").stat().st_size
        return size, making[0], making[2], math.nan, math.nan


def updates(bench, work, engine, where, names, slow=False, big=BIG, told=lambda rows: None):
    """Rows of the table: for each pair, each side one after the other, so that what else the machine does hits all alike."""
    rows = []
    for name in names:
        at = fetched.fetch(name, where)
        with tempfile.TemporaryDirectory(dir=work) as directory:
            pair = Pair(bench, at, pathlib.Path(directory))
            seen = {}
            for peer, (make, apply) in pair.sides(engine).items():
                if not slow and pair.new_tar.stat().st_size > big and (peer.startswith("zstd") or peer == "bsdiff"):
                    continue
                seen[peer] = pair.measure(make, apply, (lambda: pair.engine_size) if peer == "ours" else None)
            if shutil.which("casync"):
                seen["casync 64K"] = pair.casync()
            rows.append((name, seen))
            told(rows)
    return rows


def text(rows, table):
    """The tables as they stand in docs/performance.md."""
    def cell(figures, part):
        return part(figures) if figures else "–"

    sizes = [(name, *(cell(seen.get(peer), lambda f: f"{f[0] / 1000:,.1f}") for peer in PEERS), against(seen, "HDiffPatch")) for name, seen in rows]
    costs = []
    for name, seen in rows:
        costs.append((name, *(cell(seen.get(peer), lambda f: f"{f[1]:.1f} s, {f[2]:.0f} · {f[3]:.1f} s, {f[4]:.0f}" if not math.isnan(f[3]) else f"{f[1]:.1f} s, {f[2]:.0f}") for peer in PEERS)))
    ratios = [seen["ours"][0] / seen["HDiffPatch"][0] for name, seen in rows if {"ours", "HDiffPatch"} <= seen.keys() and name not in CONTAINERS]
    by_name = dict(rows)
    wrapped = [f"{name} {by_name[name]['ours'][0] / by_name[tree]['ours'][0]:.2f}" for name, tree in UNPACKED.items() if name in by_name and tree in by_name]
    versions = [f"{name} ({kind}, {old} → {new})" for name, (_, kind, old, new) in fetched.PACKAGES.items()]
    parts = ["Bytes to fetch in KB. Pairs: " + ", ".join(versions) + "; `-wheel`, `-tgz`: the same as it came; closure holds one jar, closure-tree is that unpacked; tiny: 4 bytes of a library and a line of text changed in polars. HDiffPatch: `-m-6 -SD -c-lzma2-9-64m`. zstd, bsdiff and xdelta3 see both versions as tar. casync stores names and bytes alone (`--without=all`). Ours without names, manifests and signatures."]
    parts.append(table(["pair", *PEERS, "ours against HDiffPatch"], sizes))
    if ratios:
        parts.append(f"Geometric mean against HDiffPatch, containers left out: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}.")
    if wrapped:
        parts.append("Containers against the patch of their unpacked trees: " + ", ".join(wrapped) + ".")
    parts.append("CPU seconds and peak MB to make · to apply (a peak of 24 is what this script itself holds).")
    parts.append(table(["pair", *PEERS], costs))
    return "\n\n".join(parts)


def against(seen, peer):
    return f"{seen['ours'][0] / seen[peer][0]:.2f}" if peer in seen and "ours" in seen else "–"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=None)
    parser.add_argument("--pairs", type=pathlib.Path, default=PAIRS)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--big", type=int, default=BIG >> 20, help="from how many MB on a tree counts as big")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--engine", type=pathlib.Path, help="the example `tree` of counterfoil-patch, if it is built already")
    parser.add_argument("--figures", type=pathlib.Path, help="also write what was measured, as JSON")
    options = parser.parse_args()
    from importlib.machinery import SourceFileLoader

    # The report says what was measured, not where on this machine.
    sys.argv[1:] = ["updates", *(["--slow"] if options.slow else []), *options.names]
    bench = SourceFileLoader("bench", str(pathlib.Path(__file__).resolve().parent / "run")).load_module()
    engine = options.engine or build(bench)

    def told(rows):
        if options.figures:
            options.figures.write_text(json.dumps(rows))
        if not options.quick:
            bench.section("Updates", text(rows, bench.table))

    with tempfile.TemporaryDirectory(prefix="counterfoil-bench.", dir=bench.ROOT / "target") as work:
        rows = updates(bench, work, engine, options.pairs, options.names or (QUICK if options.quick else ALL), options.slow, options.big << 20, told)
    print(text(rows, bench.table))


def build(bench):
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "counterfoil-patch", "--example", "tree"], cwd=bench.ROOT, check=True)
    return bench.BIN / "examples/tree"


if __name__ == "__main__":
    main()
