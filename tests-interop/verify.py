"""Verifies licenses with PyJWT: python3 verify.py JWKS CASES. What a program would do, and nothing more."""

import datetime
import json
import sys

import jwt
import jwt.api_jwt

keys = jwt.PyJWKSet.from_dict(json.load(open(sys.argv[1])))


class clock(datetime.datetime):
    """PyJWT has no clock to set: it is given another one."""

    at = 0

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(cls.at, tz)


jwt.api_jwt.datetime = clock


def verify(token, device, at):
    head = jwt.get_unverified_header(token)
    if head.get("typ") != "counterfoil-license+jwt":
        raise jwt.InvalidTokenError("it is no license")
    key = next((key for key in keys.keys if key.key_id == head.get("kid")), None)
    if key is None:
        raise jwt.InvalidTokenError("nobody knows the key")
    clock.at = at
    claims = jwt.decode(token, key, algorithms=["EdDSA"], options={"require": ["iat", "cnf"]})
    if claims["cnf"]["kid"] != device:
        raise jwt.InvalidTokenError("it is another device's")
    return claims


results = {}
for case in json.load(open(sys.argv[2])):
    try:
        verify(case["token"], case["device"], case["at"])
        results[case["name"]] = "accepted"
    except jwt.PyJWTError as error:
        results[case["name"]] = f"refused: {error}"
json.dump(results, sys.stdout)
