"""What licenses cost on a device: one verified offline by a cold process, and what `run` adds to starting a title: a group of `bench/run`."""

import json
import urllib.request


def running(bench, work, runs):
    tree = work / "small"
    tree.mkdir()
    start = tree / "start"
    start.write_text("#!/bin/sh\nexit 0\n")
    start.chmod(0o755)
    here = bench.Installation(work / "running")
    here.client("publisher", "publish", tree, "--title", "small", "--version", "1", "--entry", "start")
    here.client("publisher", "title", "edit", "small", "--summary", "x", "--price", "0.00 EUR", "--on-sale")
    library = work / "licensed"
    here.user("anna", library)
    here.client("anna", "buy", "small", "--yes")
    here.client("anna", "install", "small", "--library", library)
    token, keys = work / "license.jwt", work / "keys.json"
    token.write_text(json.loads(next(library.rglob("license.json")).read_text())["license"])
    keys.write_bytes(urllib.request.urlopen(f"{here.url}/.well-known/jwks.json").read())

    cold = bench.paired(
        runs * 5,
        verify=lambda _: bench.run(bench.BIN / "counterfoil", "license", "verify", token, "--keys", keys),
        nothing=lambda _: bench.run(bench.BIN / "counterfoil", "--version"),
    )
    online = bench.paired(
        runs * 2,
        run=lambda _: here.client("anna", "run", "small", "--library", library),
        play=lambda _: here.client("anna", "play", "small", "--run", "--library", library),
    )
    here.close()
    offline = bench.paired(
        runs * 2,
        run=lambda _: here.client("anna", "run", "small", "--library", library),
        play=lambda _: here.client("anna", "play", "small", "--run", "--library", library),
    )

    def added(seen, a, b, which):
        return f"{(bench.median(seen, a, which) - bench.median(seen, b, which)) * 1e3:+.1f} ms"

    def took(seen, a):
        return f"{bench.median(seen, a, 1) * 1e3:.1f} ms"

    return [
        ("`license verify`, offline, cold process", f"`counterfoil --version`, {took(cold, 'nothing')}", "≤ 3 ms in all", f"{took(cold, 'verify')}, {added(cold, 'verify', 'nothing', 1)}"),
        ("`run`, the authority on the same machine", f"`play --run`, {took(online, 'play')}", "", f"{took(online, 'run')}, {added(online, 'run', 'play', 1)}"),
        ("`run`, nobody answers", f"`play --run`, {took(offline, 'play')}", "", f"{took(offline, 'run')}, {added(offline, 'run', 'play', 1)}"),
    ]
