"""Makes of a genuine license the cases that every verifier must agree on: python3 cases.py LICENSE DEVICE-ID > cases.json"""

import base64
import hashlib
import hmac
import json
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

token, device = open(sys.argv[1]).read().strip(), sys.argv[2]
jwks = json.load(open(sys.argv[3]))
header, payload, signature = token.split(".")


def decode(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encode(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


head, claims = json.loads(decode(header)), json.loads(decode(payload))
now, stranger = int(time.time()), Ed25519PrivateKey.generate()
longer = encode({**claims, "exp": claims["exp"] + 10**9})
none = encode({**head, "alg": "none"})
mac = encode({**head, "alg": "HS256"})
public = base64.urlsafe_b64decode(jwks["keys"][0]["x"] + "=")
mine = stranger.public_key().public_bytes_raw()


def sign(key, head, payload):
    signed = f"{head}.{payload}"
    return f"{signed}.{encode(key.sign(signed.encode()))}"


def authenticate(key, head, payload):
    signed = f"{head}.{payload}"
    return f"{signed}.{encode(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def case(name, token, good=False, device=device, at=now):
    return {"name": name, "token": token, "good": good, "device": device, "at": at}


other = device[:-1] + ("0" if device[-1] != "0" else "1")
flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
brings_key = encode({**head, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": encode(mine)}})
json.dump([
    case("genuine", token, good=True),
    case("genuine, a day before it ends", token, good=True, at=claims["exp"] - 86400),
    case("edited", f"{header}.{longer}.{signature}"),
    case("signature changed", f"{header}.{payload}.{flipped}"),
    case("without signature", f"{header}.{payload}."),
    case("alg none", f"{none}.{longer}."),
    case("the public key as a MAC key", authenticate(public, mac, longer)),
    case("signed by another key under the same name", sign(stranger, header, longer)),
    case("signed by a key that nobody knows", sign(stranger, encode({**head, "kid": "unknown"}), longer)),
    case("with a key of its own", sign(stranger, brings_key, longer)),
    case("expired", token, at=claims["exp"] + claims.get("grace", 0) + 86400),
    case("presented by another device", token, device=other),
    case("no license", json.load(open(sys.argv[4]))["token"]),
], sys.stdout)
