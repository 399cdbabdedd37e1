"""Installing from loopback against `curl` of the same bytes: a group of `bench/run`, whose tools it is given."""

import json
import multiprocessing
import os
import shutil
import urllib.request


def installing(bench, work, size, runs):
    tree = work / "sold"
    # In a process of its own: a child's peak begins with what its parent holds.
    making = multiprocessing.get_context("fork").Process(target=bench.mixed, args=(tree, size))
    making.start()
    making.join()
    here = bench.Installation(work / "installing")
    here.client("publisher", "publish", tree, "--title", "sold", "--version", "1")
    here.client("publisher", "title", "edit", "sold", "--summary", "x", "--price", "0.00 EUR", "--on-sale")
    library = work / "installed"
    here.user("anna", library)
    here.client("anna", "buy", "sold", "--yes")
    release = json.load(urllib.request.urlopen(f"{here.url}/v1/store/titles/sold/releases/1"))
    sealed = sum(part["length"] for part in release["objects"])
    fetched = work / "fetched"
    config = work / "curl"
    config.write_text("".join(f'url = "{here.url}/contents/{part["object"]}"\noutput = "{fetched}/{part["object"]}"\n' for part in release["objects"]))

    def fresh(directory):
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)

    def install(number, jobs):
        fresh(library)
        return here.client("anna", "install", "sold", "--again", "--library", library, "--jobs", jobs)

    def curl(at_once):
        fresh(fetched)
        return bench.run("curl", "--silent", "--fail", "--parallel", "--parallel-max", at_once, "--config", config)

    seen = bench.paired(
        runs,
        install=lambda number: install(number, 4),
        one=lambda number: install(number, 1),
        curl=lambda _: curl(4),
        curl_one=lambda _: curl(1),
    )
    file = work / "sold.cfoil"

    def download(_):
        file.unlink(missing_ok=True)
        return here.client("anna", "download", "sold", "--file", file)

    carried = bench.paired(runs, download=download, curl=lambda _: curl(1))
    peak = here.client("anna", "install", "sold", "--again", "--library", work / "peak")[2]
    here.close()
    rate = sealed / 2**20
    rows = [
        ("install, four connections", "`curl --parallel-max 4`", "≤ 2.0× wall", f"{bench.ratio(seen, 'install', 'curl', 1):.2f}× wall, {bench.ratio(seen, 'install', 'curl'):.2f}× CPU"),
        ("install, one connection", "`curl`, one after the other", "", f"{bench.ratio(seen, 'one', 'curl_one', 1):.2f}× wall, {bench.ratio(seen, 'one', 'curl_one'):.2f}× CPU"),
        ("download into one file", "`curl`, one after the other", "≤ 2.0× wall", f"{bench.ratio(carried, 'download', 'curl', 1):.2f}× wall, {bench.ratio(carried, 'download', 'curl'):.2f}× CPU"),
        ("peak memory of install", "", "≤ 32 MB and 80 bytes a chunk", f"{peak:.0f} MB"),
    ]
    figures = f"{rate:.0f} MiB sealed, from loopback, server on the same processors: install {rate / bench.median(seen, 'install', 1):.0f} MiB/s, curl {rate / bench.median(seen, 'curl', 1):.0f} MiB/s"
    return figures, rows
