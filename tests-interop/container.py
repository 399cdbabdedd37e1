"""Containers, against the Cobblestone-256 of Python's cryptography.

python3 container.py vectors > FILE     makes crates/format/tests/vectors/crypto/container.json
python3 container.py compare PROGRAM    PROGRAM (crates/format/examples/container.rs) opens what Python seals, and the reverse
"""

import base64
import json
import os
import subprocess
import sys

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

HEAD, CHUNK = 56, 16384


def pattern(length):
    return bytes((i // 7 ^ i) & 0xFF for i in range(length))


def seal(key, context, plain):
    encryptor = Cobblestone256Encryptor(key, context)
    return encryptor.update(plain) + encryptor.finalize()


def opened(key, context, sealed):
    """What is in it; None where it does not open."""
    try:
        decryptor = Cobblestone256Decryptor(key, context)
        return decryptor.update(sealed) + decryptor.finalize()
    except InvalidTag:
        return None


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def cases():
    """Name, key, context, sealed bytes, length of the plaintext (a pattern) or None."""
    key, other = bytes(range(32)), bytes(range(1, 33))
    for length in (0, 7, CHUNK - 1, CHUNK, 2 * CHUNK + 1):
        yield f"{length} bytes", key, b"context", seal(key, b"context", pattern(length)), length
    yield "empty context", key, b"", seal(key, b"", pattern(7)), 7
    yield "context with a zero byte", key, b"a\0b", seal(key, b"a\0b", pattern(7)), 7
    short = seal(key, b"context", pattern(7))
    yield "wrong key", other, b"context", short, None
    yield "wrong context", key, b"contexu", short, None
    yield "context without its end", key, b"contex", short, None
    for name, at in (("salt", 3), ("commitment", 30), ("ciphertext", 58), ("tag", len(short) - 1)):
        yield f"{name} flipped", key, b"context", flip(short, at), None
    for name, length in (("nothing", 0), ("half a salt", 12), ("no commitment", 24), ("half a commitment", 40), ("no chunk", 56), ("half a tag", 64)):
        yield name, key, b"context", short[:length], None
    yield "appended", key, b"context", short + b"x", None
    yield "two containers", key, b"context", short + short, None
    long = seal(key, b"context", pattern(CHUNK + 100))
    first, last = long[HEAD:HEAD + CHUNK + 16], long[HEAD + CHUNK + 16:]
    yield "cut between chunks", key, b"context", long[:HEAD] + first, None
    yield "without the first chunk", key, b"context", long[:HEAD] + last, None
    yield "swapped", key, b"context", long[:HEAD] + last + first, None
    yield "first chunk doubled", key, b"context", long[:HEAD] + first + first + last, None
    yield "last chunk doubled", key, b"context", long + last, None


def vectors():
    found = []
    for name, key, context, sealed, length in cases():
        plain = opened(key, context, sealed)
        assert plain == (None if length is None else pattern(length)), name
        found.append({"name": name, "key": key.hex(), "context": context.hex(), "sealed": base64.b64encode(sealed).decode(), "length": length})
    about = "made by tests-interop/container.py with the Cobblestone-256 of Python's cryptography 50.0.2; byte i of a plaintext is (i / 7) xor i"
    json.dump({"about": about, "vectors": found}, sys.stdout, indent=1)


def compare(program):
    def run(what, key, context, data):
        return subprocess.run([program, what, key.hex(), context.hex()], input=data, capture_output=True)

    count = 0
    for name, key, context, sealed, length in cases():
        theirs = run("open", key, context, sealed)
        if (theirs.returncode == 0) != (length is not None) or (length is not None and theirs.stdout != pattern(length)):
            sys.exit(f"error: {name}: {theirs.returncode} {theirs.stderr.decode()}")
        count += 1
    # 257 chunks and more: the counter passes a byte.
    for length in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 300 * CHUNK + 5):
        key, context, plain = os.urandom(32), os.urandom(length % 50), os.urandom(length)
        sealed = run("seal", key, context, plain)
        assert sealed.returncode == 0, sealed.stderr
        if opened(key, context, sealed.stdout) != plain:
            sys.exit(f"error: Python does not open {length} bytes")
        if run("open", key, context, seal(key, context, plain)).stdout != plain:
            sys.exit(f"error: {length} bytes of Python's are not opened")
        if opened(key, context + b"x", sealed.stdout) is not None:
            sys.exit("error: Python opens another context")
        count += 3
    print(f"containers: {count} agree with Python's cryptography")


if sys.argv[1:] == ["vectors"]:
    vectors()
elif len(sys.argv) == 3 and sys.argv[1] == "compare":
    compare(sys.argv[2])
else:
    sys.exit(__doc__)
