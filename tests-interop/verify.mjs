// Verifies licenses with jose: node verify.mjs JWKS CASES. What a program would do, and nothing more.
import { readFileSync } from "node:fs";
import { createLocalJWKSet, errors, jwtVerify } from "jose";

const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const keys = createLocalJWKSet(read(process.argv[2]));

async function verify({ token, device, at }) {
  const { payload } = await jwtVerify(token, keys, {
    algorithms: ["EdDSA"],
    typ: "counterfoil-license+jwt",
    requiredClaims: ["iat", "cnf"],
    currentDate: new Date(at * 1000),
  });
  if (payload.cnf.kid !== device) throw new errors.JWTClaimValidationFailed("it is another device's", payload, "cnf");
}

const results = {};
for (const one of read(process.argv[3])) {
  try {
    await verify(one);
    results[one.name] = "accepted";
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) throw error;
    results[one.name] = `refused: ${error.message}`;
  }
}
process.stdout.write(JSON.stringify(results));
