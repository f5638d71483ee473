"""What Leasehold must survive: the numbered cases of the threat list, in a few words each, and whether a test shows it.

A covered case needs a test marked with its number, a planned one must not have any: `test_cases.py` holds both. Where a
case spoke of something that the design has since chosen against (globs, cached decisions), what remains of it counts.
"""

from __future__ import annotations

from typing import NamedTuple

COVERED = "covered"
PLANNED = "planned"


class Case(NamedTuple):
    """One attack, fault or misuse, and what has to happen."""

    attack: str
    state: str = COVERED


CASES: dict[int, Case] = {
    # tokens and signatures
    1: Case("`alg` none, another algorithm, another spelling of it: refused before any key is loaded"),
    2: Case("a `kid` that is a path, a query, an address, or ten kilobytes: refused, nothing is opened"),
    3: Case("keys that the header brings along: refused"),
    4: Case("a `crit` extension: refused"),
    5: Case("any single bit of a valid lease flipped: refused"),
    6: Case("another encoding of the same token: one accepted form only"),
    7: Case("malleable signatures and weak keys: refused"),
    8: Case("a claim left out: refused, no default"),
    9: Case("a document of another type as a lease, and the reverse: refused"),
    10: Case("a lease at another tool's, environment's or authority's door: refused on audience"),
    11: Case("a stolen lease: useless without the holder's key, or the receipt says it was a bearer's"),
    12: Case("keys rotated mid-run: no valid lease refused in the overlap, none accepted after it"),
    # parsing and canonical form
    13: Case("duplicate members at any depth: refused"),
    14: Case("numbers that readers take differently: refused, or exact"),
    15: Case("true for 1, 1.0 for 1, text for a number: types never mix"),
    16: Case("lone surrogates, NUL, invalid UTF-8: refused at the edge"),
    17: Case("documents too deep, too long, with too many members: refused, memory bounded"),
    18: Case("member order and white space: the same digest; anything else: another one"),
    19: Case("a name in another Unicode form: refused, never normalised"),
    20: Case("an unknown field in a lease, approval or policy: refused"),
    21: Case("a format version outside the known range: refused"),
    22: Case("policy tricks of richer file formats: refused, only explicit values"),
    23: Case("write and read again: the same value; two readers agree"),
    # names and patterns
    24: Case("path prefixes that are no segments, dot segments, empty segments: refused"),
    25: Case("percent-encoding and backslashes: refused, nothing is decoded after the check"),
    26: Case("full-width and folded characters: no folding anywhere in a decision"),
    27: Case("a look-alike of an allowed name: denied, and the card says so"),
    28: Case("case variants of any name: another name"),
    29: Case("a trailing newline, space or NUL: refused"),
    30: Case("pattern characters in a value: refused, never a pattern"),
    31: Case("allow on a broad pattern and deny on a narrow one, in either order: deny wins"),
    32: Case("the same file through links and mounts: refused or opened below its root"),
    33: Case("addresses that lead to other hosts or inward: refused, connected as checked"),
    34: Case("`../` in a path parameter: encoded and checked again", PLANNED),
    35: Case("a tenant or environment named in arguments: never taken from there"),
    36: Case("a pattern that is costly to match: matching is linear"),
    # narrowing and delegation
    37: Case("random parent, child and call: what the child allows the parent allows"),
    38: Case("the same against an independent brute-force oracle"),
    39: Case("a child that widens one dimension: refused by name"),
    40: Case("a child that drops a constraint of its parent: refused"),
    41: Case("containment that cannot be decided: containment is total"),
    42: Case("a chain reordered, shortened or spliced: refused"),
    43: Case("depth bombs and thousands of children: limits hold"),
    44: Case("a child that drops its last link to use its parent's: refused"),
    45: Case("a child that outlives its parent: dead at the same instant"),
    # time
    46: Case("a verifier whose clock is off: never accepts later than the published skew"),
    47: Case("a wall clock that jumps: no lease revives"),
    48: Case("a machine that slept longer than the lease lives: dead on resume"),
    49: Case("times in any form but integer seconds: refused"),
    50: Case("expiry now, before issue, too far, zero, negative: refused at issue and at use"),
    51: Case("expiry between admission and start: not started, given back, written down"),
    52: Case("a clock earlier than the last entry: nothing is issued until an operator confirms"),
    # revocation
    53: Case("a revoke in each phase of a call: nothing starts after the answer, which names what is in flight"),
    54: Case("a door that cannot reach the store: nothing starts"),
    55: Case("two processes on one database: one sequence; another epoch is refused"),
    56: Case("a revoked parent of many children: one row, dead after a restart too"),
    57: Case("a stop named from another tenant: not found"),
    58: Case("a credential source that is down at the revoke: retried, alarmed", PLANNED),
    59: Case("a crash between minting a credential and recording it: found and killed", PLANNED),
    60: Case("thousands of leases that expire at once: expiry is read at use"),
    61: Case(
        "one damaged row: that one refused, the rest goes on; one that was changed: found, the ledger says otherwise"
    ),
    62: Case("a backup from before a revoke restored: a new epoch voids what it holds, sources are left alone"),
    63: Case("kill switches under load and across a restart: nothing starts, a person lifts them"),
    64: Case("a cached decision: there is none"),
    # budgets
    65: Case("64 callers and a budget of one: exactly one admission"),
    66: Case("parents and children that spend together: never more than the root has"),
    67: Case("PostgreSQL at every isolation level, conflicts injected: the same result, tries bounded"),
    68: Case("a lost answer after the tool ran: the charge stays"),
    69: Case("actual cost over the estimate, negative, undeclared: debited in full, reported, or refused"),
    70: Case("sums of money, overflows, mixed units: integers, refused"),
    71: Case("a holder of a reservation that dies: unknown, or given back if it cannot have started"),
    72: Case("the same idempotency key again in every way: at most one execution"),
    73: Case("a loop of denied calls, of reports, of giant ones: ledger and receipt stay bounded"),
    # approvals
    74: Case("arguments changed by one byte after the approval: a new approval"),
    75: Case("answers in another order: each bound to its own request"),
    76: Case("approving twice, two reviewers at once: used once"),
    77: Case("a crash between approval and use: no second execution, its own deadline"),
    78: Case("approved content that is mutable by reference: what its preview showed is bound"),
    79: Case("policy, lease or tool changed between approval and use: refused, asked again"),
    80: Case("the requester, an alias, or one key under two names approves: refused"),
    81: Case("an agent that answers its own request: approver keys are out of its reach"),
    82: Case("control, bidi and zero-width characters: shown escaped"),
    83: Case("markup in agent-written text: shown as text"),
    84: Case("a look-alike resource on a card: warned of"),
    85: Case("a value longer than the card: never elided silently"),
    86: Case("a card's claims from anyone but the operator: only registered facts are shown"),
    87: Case("hundreds of requests from one run: a cap"),
    88: Case("people out of reach: denied, and late answers start nothing"),
    89: Case("a `yes` in a chat: only a button of ours that the chat signed for, on a whole card, counts"),
    # crashes, storage, audit
    90: Case("kill -9 at any point: the invariants hold after the restart"),
    91: Case("power cuts: no answered commit is lost"),
    92: Case("errors of each disk operation: refused, never retried as success"),
    93: Case("disk full, read-only, moved or deleted files: a plain error, nothing executed"),
    94: Case("a ledger that cannot be written: nothing starts"),
    95: Case("an execution without an intent: impossible; an intent without outcome: unknown"),
    96: Case("the ledger truncated or rolled back: found by the checkpoint outside"),
    97: Case("an entry edited, moved, doubled, removed: the first bad index is named"),
    98: Case("the signing key used to rewrite history: no witness signs what is no extension"),
    99: Case("two histories of one size: kept as evidence"),
    100: Case("two writers at once: one sequence, no gap, no fork"),
    101: Case("secrets in arguments, results and errors: nowhere in ledger, receipts or cards"),
    102: Case("argument digests guessed from the ledger: they are keyed"),
    103: Case("ledger, receipts and the tool's own log after chaos: they agree"),
    # gateway, credentials
    104: Case("headers and body that name different tools: decided on what is forwarded", PLANNED),
    105: Case("an upstream called around the gateway: it has no credential for that", PLANNED),
    106: Case("headers that choose the upstream: stripped", PLANNED),
    107: Case("tool names that collide or descriptions that change: pinned, blocked", PLANNED),
    108: Case("a client's token passed upstream: never", PLANNED),
    109: Case("a request's state altered or replayed: refused", PLANNED),
    110: Case("an OAuth flow opened in a victim's browser, a code in other hands, a mixed-up issuer: worth nothing"),
    111: Case("a credential wider or longer than the lease: refused at mint", PLANNED),
    112: Case("configuration that an agent can write: not read"),
    # console, HTTP
    113: Case("scripts in agent-controlled text: never run"),
    114: Case("requests from other origins: refused"),
    115: Case("framed and shifting buttons: refused"),
    116: Case("forged hosts on loopback: refused"),
    117: Case("break-glass from an agent, alone, or too long: refused, alarmed"),
    118: Case(
        "slow clients, floods, requests that readers take differently: no error 500, no way around, others are served"
    ),
}
