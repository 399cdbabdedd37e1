#!/usr/bin/env python3
"""Fetches real pairs of versions by package name and version, and lays them out as trees and as the containers that they came in.

    bench/pairs.py DIRECTORY [NAME…]

Makes DIRECTORY/NAME/old and DIRECTORY/NAME/new for each pair, and DIRECTORY/ruff-five/{1…5}: five consecutive versions of one package.
Needs pip, npm, apt and dpkg-deb; a pair that is there already is not fetched again.
"""
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

# name: (how it is fetched, package, old version, new version)
PACKAGES = {
    "polars": ("pypi", "polars", "1.30.0", "1.31.0"),  # one native library of 107 MB
    "ruff": ("pypi", "ruff", "0.11.11", "0.11.12"),  # one native executable, written in Rust
    "esbuild": ("npm", "@esbuild/linux-x64", "0.25.4", "0.25.5"),  # one native executable, written in Go
    "typescript": ("npm", "typescript", "5.8.3", "5.9.2"),  # sources
    "jupyterlab": ("pypi", "jupyterlab", "4.4.3", "4.4.4"),  # bundled JavaScript, hashes in the names
    "freedoom": ("debian", "freedoom", "0.12.1-2", "0.13.0-2"),  # game data, old and new from two suites of Debian
    "closure": ("npm", "google-closure-compiler-java", "20250407.0.0", "20250415.0.0"),  # a jar of 14 MB
}
FIVE = ("ruff", ["0.11.8", "0.11.9", "0.11.10", "0.11.11", "0.11.12"])
SUITES = {"0.12.1-2": "bookworm", "0.13.0-2": "trixie"}


def main():
    into = pathlib.Path(sys.argv[1]).resolve()
    for name in sys.argv[2:] or names():
        fetch(name, into)


def names():
    return [*PACKAGES, "polars-wheel", "ruff-wheel", "typescript-tgz", "closure-tree", "jupyterlab-wheel", "tiny", "ruff-five"]


def fetch(name, into):
    """Makes one pair, unless it is there."""
    at = into / name
    if (at / "done").exists():
        return at
    shutil.rmtree(at, ignore_errors=True)
    if name == "ruff-five":
        for number, version in enumerate(FIVE[1], 1):
            unpack(archive(into, "pypi", FIVE[0], version), at / str(number))
    elif name == "tiny":
        tiny(into, at)
    elif name == "closure-tree":
        for side in ("old", "new"):
            (jar,) = (fetch("closure", into) / side).rglob("*.jar")
            unpack(jar, at / side)
    else:
        package = PACKAGES[name.removesuffix("-wheel").removesuffix("-tgz")]
        for side, version in (("old", package[2]), ("new", package[3])):
            whole = archive(into, package[0], package[1], version)
            if name in PACKAGES:
                unpack(whole, at / side)
            else:
                (at / side).mkdir(parents=True)
                shutil.copy(whole, at / side / f"{package[1]}{whole.suffix}")
    (at / "done").touch()
    return at


def archive(into, kind, package, version):
    """The package file of one version, fetched with the ordinary client of where it is published."""
    store = into / "dl" / f"{package.replace('/', '_')}-{version}"
    if store.exists() and any(store.iterdir()):
        return next(store.iterdir())
    store.mkdir(parents=True, exist_ok=True)
    if kind == "pypi":
        platforms = ["--platform", "manylinux_2_17_x86_64", "--platform", "manylinux2014_x86_64", "--python-version", "3.12"]
        run(*pip(into), "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", *platforms, f"{package}=={version}", "-d", store, cwd=store)
    elif kind == "npm":
        run("npm", "pack", "--silent", f"{package}@{version}", cwd=store)
    else:
        debian(package, version, store, into / "apt" / SUITES[version])
    return next(store.iterdir())


def pip(into):
    """pip as it is here, or in an environment of its own."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    own = into / "venv"
    if not own.exists():
        run(sys.executable, "-m", "venv", own, cwd=into)
    return [own / "bin/pip"]


def debian(package, version, store, state):
    """Fetches a Debian package from another suite than the machine's: its sources with the suite's name replaced, in a state of its own."""
    for path in ("lists/partial", "cache/archives/partial", "parts"):
        (state / path).mkdir(parents=True, exist_ok=True)
    own = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M)[1]
    uri = re.search(r"^(?:URIs: |deb (?:\[[^\]]*\] )?)(\S+/debian/?)\s", "\n".join(sources()), re.M)[1]
    (state / "sources.list").write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} {state.name} main\n")
    options = {"Dir::Etc::sourcelist": state / "sources.list", "Dir::Etc::sourceparts": state / "parts", "Dir::State::lists": state / "lists"}
    options |= {"Dir::Cache": state / "cache", "APT::Sandbox::User": "root"}
    flags = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    if state.name == own and not subprocess.run(["apt-get", "download", f"{package}={version}"], cwd=store, capture_output=True).returncode:
        return
    run("apt-get", *flags, "update", "-qq", cwd=store)
    run("apt-get", *flags, "download", "-qq", f"{package}={version}", cwd=store)


def sources():
    for path in [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]:
        if path.is_file():
            yield path.read_text()


def unpack(whole, into):
    """A package file as the tree that it holds; names that carry the version lose it, as an installed tree has them."""
    into.mkdir(parents=True)
    if whole.suffix in (".whl", ".jar", ".zip"):
        with zipfile.ZipFile(whole) as file:
            file.extractall(into)
    elif whole.suffix == ".deb":
        run("dpkg-deb", "-x", whole, into, cwd=into)
    else:
        with tarfile.open(whole) as file:
            file.extractall(into, filter="data")
    # Releases have no empty directories of their own.
    for path in sorted(into.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def tiny(into, at):
    """A few bytes changed in a tree of 90 MB: a constant in a native library and a line of text."""
    shutil.copytree(fetch("polars", into) / "new", at / "old")
    shutil.copytree(at / "old", at / "new")
    library = max((path for path in (at / "new").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    with open(library, "r+b") as file:
        file.seek(library.stat().st_size // 2)
        file.write(b"\x2a\x00\x00\x00")
    text = sorted((at / "new").rglob("*.py"))[10]
    text.write_text(text.read_text() + "\n# one line more\n")


def run(*command, cwd):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))}\n{done.stderr}")


if __name__ == "__main__":
    main()
