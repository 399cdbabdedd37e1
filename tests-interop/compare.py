"""Shows what each verifier said of each case, and fails where one is wrong: python3 compare.py CASES NAME=RESULTS..."""

import json
import sys

cases = json.load(open(sys.argv[1]))
verifiers = {name: json.load(open(path)) for name, path in (argument.split("=", 1) for argument in sys.argv[2:])}
wrong = 0
print(f"{'':44}" + "".join(f"{name:>12}" for name in verifiers))
for case in cases:
    said = {name: results[case["name"]] for name, results in verifiers.items()}
    bad = [name for name, words in said.items() if (words == "accepted") != case["good"]]
    wrong += len(bad)
    print(f"{case['name']:44}" + "".join(f"{words.split(':')[0]:>12}" for words in said.values()) + ("  WRONG: " + ", ".join(bad) if bad else ""))
sys.exit(f"error: {wrong} wrong" if wrong else 0)
