// Prints, for each file named on the command line, what `verifyLease` says of a vector (tests/vectors/README.md), what
// its claims grant, and whether `jose` alone, with its usual options, would have let the token through.

import { readFileSync } from 'node:fs'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { allows, verifyLease } from './verify.mjs'

for (const file of process.argv.slice(2)) {
  const vector = JSON.parse(readFileSync(file, 'utf8'))
  const door = { ...vector, keys: createLocalJWKSet(vector.keys) }
  const now = new Date(vector.now_milliseconds)
  const outcome = { file }
  try {
    const claims = await verifyLease(vector.token, door, { now, holder: vector.holder ?? undefined })
    outcome.allowed = (vector.calls ?? []).map(([action, attributes]) => allows(claims, action, attributes))
  } catch (error) {
    outcome.refused = error.message
  }
  const usual = { algorithms: ['Ed25519'], typ: 'at+jwt', requiredClaims: ['exp', 'iat', 'nbf', 'sub', 'jti'] }
  const { issuer, audience } = vector
  outcome.generic = await jwtVerify(vector.token, door.keys, { ...usual, issuer, audience, currentDate: now })
    .then(() => true, () => false)
  console.log(JSON.stringify(outcome))
}
