// Verifies a lease of Leasehold where Leasehold is not installed: at another team's door, with the issuer's public keys
// alone. That proves what was granted, not that it still is, so it is for reads; a write is admitted at the issuer.
//
//   node verify.mjs JWKS ISSUER AUDIENCE ENVIRONMENT < token        JWKS is an https address or a file

import { readFile } from 'node:fs/promises'
import { text as readAll } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { base64url, createLocalJWKSet, createRemoteJWKSet, jwtVerify } from 'jose'

const SKEW_SECONDS = 2 // how far the issuer's clock may be ahead; nothing is added to the end of a lease
const MAX_LIFE_SECONDS = 900
const GRANT_TYPE = 'urn:leasehold:grant:1'
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]$/ // the last character's spare bits are zero

const isText = (value) => typeof value === 'string' && value.isWellFormed() && !value.includes('\0')
const isTexts = (value) => Array.isArray(value) && value.every(isText)
const isCount = (value) => Number.isSafeInteger(value) && value >= 0
const isOrdinal = (value) => isCount(value) && value > 0
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value)
const isId = (prefix) => (value) => isText(value) && new RegExp(`^${prefix}_[0-9A-HJKMNP-TV-Z]{26}$`).test(value)
const isFlag = (value) => typeof value === 'boolean'

// Every claim of a lease; there are no others but `cnf`, and none has a default.
const CLAIMS = {
  approved_by: isTexts, attempt: isOrdinal, aud: isText, authorization_details: Array.isArray, budget: isObject,
  client_id: isText, delegation_depth: isCount, deny: isTexts, ends_on: isTexts, environment: isText, epoch: isOrdinal,
  exp: isCount, iat: isCount, iss: isText, jti: isId('lease'), nbf: isCount, parents: isTexts, policy: isText,
  reason: isText, receipt: isFlag, request_id: isId('req'), requested_by: isText, route: isText, sub: isId('run'),
  tenant: isText,
}

export class Refused extends Error {}

function demand(holds, why) {
  if (!holds) throw new Refused(why)
}

// The one spelling of a JSON document (RFC 8785), which is how JavaScript writes it, with its members sorted.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value)
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`
}

// What the issuer said, for this door: {keys, issuer, audience, environment}. `holder` is the thumbprint of a key that
// the presenter has just proven to hold (RFC 9449); a bound token is worth nothing without it.
export async function verifyLease(token, door, { now = new Date(), holder } = {}) {
  demand(token.length <= 8192 && TOKEN.test(token), 'this is no token in its one spelling')
  const { payload, protectedHeader } = await jwtVerify(token, door.keys, {
    algorithms: ['Ed25519'], typ: 'at+jwt', issuer: door.issuer, audience: door.audience,
    requiredClaims: Object.keys(CLAIMS), clockTolerance: SKEW_SECONDS, currentDate: now,
  })
  const [header, body] = token.split('.')
  const { alg, kid, typ } = protectedHeader
  demand(header === base64url.encode(canonical({ alg, kid, typ })) && typ === 'at+jwt', 'no header of a lease')
  demand(body === base64url.encode(canonical(payload)), 'the claims are not in their one spelling')
  const { cnf, ...claims } = payload
  for (const name of Object.keys(claims)) demand(CLAIMS[name]?.(claims[name]), `no claim of a lease: ${name}`)
  demand(claims.parents.every(isId('lease')), 'parents are leases')
  demand(claims.aud === door.audience, 'it is for another door')
  demand(claims.environment === door.environment, 'it is for another environment')
  demand(now.getTime() < claims.exp * 1000, 'it has ended')
  demand(now.getTime() >= (claims.iat - SKEW_SECONDS) * 1000 && claims.nbf === claims.iat, 'it has not begun')
  demand(claims.exp > claims.iat && claims.exp - claims.iat <= MAX_LIFE_SECONDS, 'no lease lives that long')
  demand(cnf === undefined || (holder !== undefined && canonical(cnf) === canonical({ jkt: holder })), 'it is bound')
  demand(claims.authorization_details.length > 0, 'it grants nothing')
  claims.authorization_details.forEach((detail) => checkGrant(detail, door.audience))
  return claims
}

function checkGrant(detail, audience) {
  demand(isObject(detail) && detail.type === GRANT_TYPE, 'a grant of a kind that this program does not know')
  demand(canonical(Object.keys(detail).sort()) === '["actions","constraints","type"]', 'a grant with other members')
  demand(isTexts(detail.actions) && detail.actions.length === 1 && isObject(detail.constraints), 'no grant')
  const [action] = detail.actions
  demand(action.slice(0, action.lastIndexOf('.')) === audience, 'a grant of another door')
  for (const constraint of Object.values(detail.constraints)) {
    demand(Array.isArray(constraint) ? constraint.length > 0 && constraint.every(isChoice) : isTable(constraint),
      'a constraint of a kind that this program does not know')
  }
}

const isChoice = (value) =>
  typeof value === 'boolean' || Number.isSafeInteger(value) ||
  (isText(value) && (value === '**' || !value.replace(/(?<=\/)\*\*$|\*$/, '').includes('*')))
const isTable = (value) =>
  isObject(value) &&
  (canonical(Object.keys(value)) === '["max_length"]'
    ? isOrdinal(value.max_length)
    : Object.keys(value).length > 0 && Object.keys(value).every((name) => name === 'min' || name === 'max') &&
      Object.values(value).every((bound) => number(bound) !== undefined))

const DECIMAL = /^-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,6})?$/

// In millionths.
function number(value) {
  if (Number.isSafeInteger(value)) return BigInt(value) * 1_000_000n
  if (typeof value !== 'string' || !DECIMAL.test(value)) return undefined
  const [whole, places = ''] = value.replace('-', '').split('.')
  const size = BigInt(whole) * 1_000_000n + BigInt(places.padEnd(6, '0'))
  return value.startsWith('-') ? -size : size
}

// Whether verified claims grant one call. `attributes` has every attribute of the action, one value each.
export function allows(claims, action, attributes) {
  const grant = claims.authorization_details.find((detail) => detail.actions[0] === action)
  if (grant === undefined) return false
  const names = new Set([...Object.keys(grant.constraints), ...Object.keys(attributes)])
  return [...names].every(
    (name) => Object.hasOwn(grant.constraints, name) && Object.hasOwn(attributes, name) &&
      isPlain(attributes[name]) && covers(grant.constraints[name], attributes[name]),
  )
}

// Text that means one thing everywhere: a prefix must not be left by way of `..`.
function isPlain(value) {
  if (typeof value !== 'string') return typeof value === 'boolean' || Number.isSafeInteger(value)
  if (!value.isWellFormed() || value !== value.normalize('NFC') || /[\p{C}\\;*]|[^\S ]|%[0-9A-Fa-f]{2}/u.test(value))
    return false
  return value !== '' && value === value.trim() && (!value.includes('/') || !/(^|\/)\.{0,2}(\/|$)/.test(value)) &&
    value !== '.' && value !== '..'
}

function covers(constraint, value) {
  if (Array.isArray(constraint)) return constraint.some((choice) => isChosen(choice, value))
  if ('max_length' in constraint) return typeof value === 'string' && [...value].length <= constraint.max_length
  const { min, max } = constraint
  if (typeof value !== typeof (max ?? min) || number(value) === undefined) return false
  return (min === undefined || number(min) <= number(value)) && (max === undefined || number(value) <= number(max))
}

function isChosen(choice, value) {
  if (choice === '**') return true
  if (typeof choice !== 'string' || !choice.endsWith('*')) return choice === value
  const start = choice.replace(/\*+$/, '')
  return typeof value === 'string' && value.startsWith(start) &&
    (choice.endsWith('**') || !value.slice(start.length).includes('/'))
}

async function main([jwks, issuer, audience, environment]) {
  const keys = jwks.startsWith('https:')
    ? createRemoteJWKSet(new URL(jwks))
    : createLocalJWKSet(JSON.parse(await readFile(jwks, 'utf8')))
  const token = (await readAll(process.stdin)).replace(/\n$/, '')
  try {
    console.log(JSON.stringify(await verifyLease(token, { keys, issuer, audience, environment }), null, 2))
  } catch (error) {
    console.error(`refused: ${error.message}`)
    process.exitCode = 3
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2))
