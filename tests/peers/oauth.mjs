// Talks to a Leasehold server as any OAuth client would, through `oauth4webapi`, which checks what the RFCs say that a
// client has to check. Prints one JSON object: what it got. Called by tests/http/test_oauth_peers.py.
//
//   node oauth.mjs ORIGIN CLIENT SECRET NOW < {"parent": "...", "child": "..."}      NOW is the server's Unix time

import assert from 'node:assert/strict'
import { text as readAll } from 'node:stream/consumers'
import { calculateJwkThumbprint, createRemoteJWKSet, exportJWK } from 'jose'
import * as oauth from 'oauth4webapi'

const [origin, name, secret, now] = process.argv.slice(2)
const asked = JSON.parse(await readAll(process.stdin))
const insecure = { [oauth.allowInsecureRequests]: true } // loopback, without TLS
const client = { client_id: name, [oauth.clockSkew]: Number(now) - Math.floor(Date.now() / 1000) }
const proof = oauth.ClientSecretBasic(secret)
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

const discovered = await oauth.discoveryRequest(new URL(origin), { algorithm: 'oauth2', ...insecure })
const server = await oauth.processDiscoveryResponse(new URL(origin), discovered)
assert.equal(server.issuer, origin) // as strings: the library has made addresses of both

async function introspect(token) {
  const response = await oauth.introspectionRequest(server, client, proof, token, insecure)
  return oauth.processIntrospectionResponse(server, client, response)
}

async function credentials(details, DPoP) {
  const parameters = { authorization_details: details }
  const response = await oauth.clientCredentialsGrantRequest(server, client, proof, parameters, { DPoP, ...insecure })
  return oauth.processClientCredentialsResponse(server, client, response)
}

async function exchange(subject, details, DPoP) {
  const parameters = { subject_token: subject, subject_token_type: ACCESS_TOKEN, authorization_details: details }
  const options = { DPoP, ...insecure }
  const response = await oauth.genericTokenEndpointRequest(server, client, proof, EXCHANGE, parameters, options)
  return oauth.processGenericTokenEndpointResponse(server, client, response)
}

// As RFC 9449 has it: the first answer gives the nonce, the second try uses it.
async function again(attempt) {
  try {
    return [await attempt(), 1]
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return [await attempt(), 2]
  }
}

async function error(attempt) {
  return attempt().then(() => 'none', (failed) => failed.error ?? failed.code)
}

// The keys, with what another team does with them.
const plain = await credentials(asked.parent)
const { verifyLease } = await import('../../examples/handoff/verify.mjs')
const keys = createRemoteJWKSet(new URL(server.jwks_uri))
const door = { keys, issuer: server.leasehold_token_issuer, audience: plain.audience, environment: 'prod' }
const claims = await verifyLease(plain.access_token, door, { now: new Date(Number(now) * 1000) })

// A token that is bound to a key, and an exchange by its holder alone.
const pair = await oauth.generateKeyPair('ES256')
const handle = oauth.DPoP(client, pair)
const stranger = oauth.DPoP(client, await oauth.generateKeyPair('Ed25519'))
const [bound, tries] = await again(() => credentials(asked.parent, handle))
const child = await exchange(bound.access_token, asked.child, handle)
const stolen = await error(() => again(() => exchange(bound.access_token, asked.child, stranger)))
const bare = await error(() => exchange(bound.access_token, asked.child))
const before = await introspect(child.access_token)

// The end of it.
await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, proof, bound.access_token, insecure),
)
const after = [await introspect(bound.access_token), await introspect(child.access_token)]
const jkt = await calculateJwkThumbprint(await exportJWK(pair.publicKey))

console.log(JSON.stringify({ plain, claims, bound, tries, child, stolen, bare, before, after, jkt }))
