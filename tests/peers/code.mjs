// The code flow with PKCE, as a desktop program does it through `oauth4webapi`, without a secret. Called twice by
// tests/http/test_oauth_peers.py, which is the browser in between.
//
//   node code.mjs ORIGIN CLIENT REDIRECT DETAILS                      prints {"address": ..., "verifier": ..., "state": ...}
//   node code.mjs ORIGIN CLIENT REDIRECT CALLBACK VERIFIER STATE      prints the token's answer

import * as oauth from 'oauth4webapi'

const [origin, name, redirect, given, verifier, state] = process.argv.slice(2)
const insecure = { [oauth.allowInsecureRequests]: true } // loopback, without TLS
const client = { client_id: name }
const discovered = await oauth.discoveryRequest(new URL(origin), { algorithm: 'oauth2', ...insecure })
const server = await oauth.processDiscoveryResponse(new URL(origin), discovered)

async function address() {
  const fresh = { verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState() }
  if (!server.code_challenge_methods_supported.includes('S256')) throw new Error('no PKCE')
  const url = new URL(server.authorization_endpoint)
  url.search = new URLSearchParams({
    client_id: name, redirect_uri: redirect, response_type: 'code', state: fresh.state,
    code_challenge: await oauth.calculatePKCECodeChallenge(fresh.verifier), code_challenge_method: 'S256',
    authorization_details: given,
  }).toString()
  return { address: url.href, ...fresh }
}

async function token() {
  const answer = oauth.validateAuthResponse(server, client, new URL(given), state) // the state, and the issuer of RFC 9207
  const response = await oauth.authorizationCodeGrantRequest(
    server, client, oauth.None(), answer, redirect, verifier, insecure,
  )
  return oauth.processAuthorizationCodeResponse(server, client, response)
}

try {
  console.log(JSON.stringify(await (verifier === undefined ? address() : token())))
} catch (error) {
  console.log(JSON.stringify({ error: error.error ?? error.code ?? error.message }))
}
