#!/usr/bin/env python3
"""A game that starts only where it is licensed, and reads its levels from the library, where they lie sealed."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
from counterfoil import Counterfoil, Refused

here = Path(__file__).parent
try:
    counterfoil = Counterfoil(here / "libcounterfoil_sdk.so.1")
    with counterfoil.open("sky-raider", keys=(here / "authority-keys.json").read_text()) as title:
        edition = title.license.attributes.get("edition")
        print("Sky Raider" + (f", edition {edition}" if edition else ""))
        if title.license.grace_until:
            print("Connect to the network soon: the license could not be renewed.")
        for name, kind, size in title.list("levels"):
            print(title.read(f"levels/{name}").decode(), end="")
except Refused as refused:
    print(f"error: {refused} [{refused.code}]", f"hint: {refused.hint}", sep="\n", file=sys.stderr)
    sys.exit(1)
