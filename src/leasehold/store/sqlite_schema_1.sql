-- Version 1. The columns of each table are the fields of its struct in leasehold.decide.rows, in that order.
-- Amounts are millionths from 0 to 2^53-1, times Unix seconds, `recorded` a ledger index.
-- Tables of small rows are kept in their key (WITHOUT ROWID); rows with a body are not: SQLite would tear their pages.

CREATE TABLE control (
  log TEXT NOT NULL PRIMARY KEY,
  issuer TEXT NOT NULL CHECK (issuer <> ''),
  epoch INTEGER NOT NULL CHECK (epoch BETWEEN 1 AND 9007199254740991),
  epoch_since INTEGER NOT NULL CHECK (epoch_since >= 0),
  policy TEXT NOT NULL,
  policy_since INTEGER NOT NULL CHECK (policy_since >= 0),
  last_time_ms INTEGER NOT NULL CHECK (last_time_ms >= 0),
  size INTEGER NOT NULL CHECK (size >= 0),
  frontier BLOB NOT NULL,
  epoch_at INTEGER NOT NULL CHECK (epoch_at >= 0)
) STRICT, WITHOUT ROWID;

-- `hashes` is the leaf hash, followed by the hash of each larger complete subtree of the Merkle tree that ends with this
-- entry, 32 bytes each: the node (level, position) stands at entry ((position + 1) << level) - 1, 32 * level bytes in.
CREATE TABLE ledger (
  idx INTEGER NOT NULL PRIMARY KEY CHECK (idx >= 0),
  body BLOB NOT NULL,
  hashes BLOB NOT NULL CHECK (length(hashes) >= 32 AND length(hashes) % 32 = 0)
) STRICT;

CREATE TABLE documents (
  tenant TEXT NOT NULL,
  id TEXT NOT NULL CHECK (id <> ''),
  body BLOB NOT NULL,
  PRIMARY KEY (tenant, id)
) STRICT;

CREATE TABLE cards (
  tenant TEXT NOT NULL,
  digest TEXT NOT NULL CHECK (digest <> ''),
  body BLOB NOT NULL,
  PRIMARY KEY (tenant, digest)
) STRICT;

CREATE TABLE runs (
  tenant TEXT NOT NULL,
  run_id TEXT NOT NULL CHECK (run_id <> ''),
  state TEXT NOT NULL,
  attempt INTEGER NOT NULL CHECK (attempt >= 1),
  expires_at INTEGER NOT NULL CHECK (expires_at >= 0),
  recorded INTEGER NOT NULL CHECK (recorded >= 0),
  denials INTEGER NOT NULL CHECK (denials >= 0),
  revoked INTEGER NOT NULL CHECK (revoked IN (0, 1)),
  held INTEGER NOT NULL CHECK (held IN (0, 1)),
  agent TEXT NOT NULL,
  requested_by TEXT NOT NULL,
  environment TEXT NOT NULL,
  route TEXT NOT NULL,
  parent_run TEXT NOT NULL,
  client TEXT NOT NULL,
  PRIMARY KEY (tenant, run_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_id ON runs (run_id);
CREATE INDEX runs_newest ON runs (tenant, recorded);
CREATE INDEX runs_of_parent ON runs (tenant, parent_run, recorded) WHERE parent_run <> '';
CREATE INDEX runs_open ON runs (expires_at) WHERE state = 'open';
CREATE INDEX runs_open_for ON runs (requested_by, environment, recorded) WHERE state = 'open';
CREATE INDEX runs_held ON runs (tenant) WHERE held = 1;

CREATE TABLE requests (
  tenant TEXT NOT NULL,
  request_id TEXT NOT NULL CHECK (request_id <> ''),
  run_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  attempt INTEGER NOT NULL CHECK (attempt >= 1),
  answer_by INTEGER NOT NULL CHECK (answer_by >= 0),
  use_by INTEGER NOT NULL CHECK (use_by >= 0),
  recorded INTEGER NOT NULL CHECK (recorded >= 0),
  call_digest TEXT NOT NULL,
  card_digest TEXT NOT NULL,
  answers BLOB NOT NULL,
  used_by TEXT NOT NULL,
  ending TEXT NOT NULL,
  bond BLOB NOT NULL,
  revoked INTEGER NOT NULL CHECK (revoked IN (0, 1)),
  held INTEGER NOT NULL CHECK (held IN (0, 1)),
  PRIMARY KEY (tenant, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_id ON requests (request_id);
CREATE INDEX requests_of_run ON requests (tenant, run_id, recorded);
CREATE INDEX requests_of_call ON requests (tenant, call_digest) WHERE call_digest <> '';
CREATE INDEX requests_pending ON requests (answer_by) WHERE state = 'pending';
CREATE INDEX requests_pending_of_run ON requests (tenant, run_id) WHERE state = 'pending';
CREATE INDEX requests_approved ON requests (use_by) WHERE state = 'approved';
CREATE INDEX requests_held ON requests (tenant) WHERE held = 1;

CREATE TABLE leases (
  tenant TEXT NOT NULL,
  lease_id TEXT NOT NULL CHECK (lease_id <> ''),
  run_id TEXT NOT NULL,
  request_id TEXT NOT NULL,
  state TEXT NOT NULL,
  issued_at INTEGER NOT NULL CHECK (issued_at >= 0),
  expires_at INTEGER NOT NULL CHECK (expires_at >= 0),
  recorded INTEGER NOT NULL CHECK (recorded >= 0),
  revoked INTEGER NOT NULL CHECK (revoked IN (0, 1)),
  held INTEGER NOT NULL CHECK (held IN (0, 1)),
  PRIMARY KEY (tenant, lease_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_id ON leases (lease_id);
CREATE INDEX leases_newest ON leases (tenant, recorded);
CREATE INDEX leases_of_run ON leases (tenant, run_id, recorded);
CREATE INDEX leases_of_request ON leases (tenant, request_id, recorded);
CREATE INDEX leases_active ON leases (expires_at) WHERE state = 'active';
CREATE INDEX leases_held ON leases (tenant) WHERE held = 1;

CREATE TABLE accounts (
  tenant TEXT NOT NULL,
  account TEXT NOT NULL,
  unit TEXT NOT NULL,
  "limit" INTEGER NOT NULL CHECK ("limit" BETWEEN 0 AND 9007199254740991),
  settled INTEGER NOT NULL CHECK (settled BETWEEN 0 AND 9007199254740991),
  reserved INTEGER NOT NULL CHECK (reserved BETWEEN 0 AND 9007199254740991),
  unknown INTEGER NOT NULL CHECK (unknown BETWEEN 0 AND 9007199254740991),
  PRIMARY KEY (tenant, account, unit)
) STRICT, WITHOUT ROWID;

-- The partial index is the small table of open calls: a call leaves it when it is settled.
CREATE TABLE calls (
  tenant TEXT NOT NULL,
  admission_id TEXT NOT NULL CHECK (admission_id <> ''),
  run_id TEXT NOT NULL,
  state TEXT NOT NULL,
  finish_by INTEGER NOT NULL CHECK (finish_by >= 0),
  late TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (tenant, admission_id)
) STRICT;
CREATE INDEX calls_open ON calls (tenant, finish_by) WHERE state = 'admitted';

CREATE TABLE keys (
  tenant TEXT NOT NULL,
  run_id TEXT NOT NULL,
  action TEXT NOT NULL,
  "key" TEXT NOT NULL CHECK ("key" <> ''),
  digest TEXT NOT NULL,
  admission_id TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (tenant, run_id, action, "key")
) STRICT, WITHOUT ROWID;

CREATE TABLE milestones (
  tenant TEXT NOT NULL,
  run_id TEXT NOT NULL,
  action TEXT NOT NULL,
  is_done INTEGER NOT NULL CHECK (is_done IN (0, 1)),
  open BLOB NOT NULL,
  PRIMARY KEY (tenant, run_id, action)
) STRICT, WITHOUT ROWID;

CREATE TABLE stops (
  tenant TEXT NOT NULL,
  scope TEXT NOT NULL CHECK (scope <> ''),
  kind TEXT NOT NULL,
  is_active INTEGER NOT NULL CHECK (is_active IN (0, 1)),
  recorded INTEGER NOT NULL CHECK (recorded >= 0),
  at INTEGER NOT NULL CHECK (at >= 0),
  "by" TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (tenant, scope, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX stops_active ON stops (tenant) WHERE is_active = 1;

CREATE TABLE breakers (
  tenant TEXT NOT NULL,
  route TEXT NOT NULL CHECK (route <> ''),
  settled TEXT NOT NULL CHECK (settled NOT GLOB '*[^01]*'),
  asked TEXT NOT NULL CHECK (asked NOT GLOB '*[^01]*'),
  PRIMARY KEY (tenant, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE glasses (
  tenant TEXT NOT NULL,
  glass_id TEXT NOT NULL CHECK (glass_id <> ''),
  state TEXT NOT NULL,
  opener TEXT NOT NULL,
  second TEXT NOT NULL,
  route TEXT NOT NULL,
  ends_at INTEGER NOT NULL CHECK (ends_at >= 0),
  review_by INTEGER NOT NULL CHECK (review_by >= 0),
  reviewed_by TEXT NOT NULL,
  recorded INTEGER NOT NULL CHECK (recorded >= 0),
  PRIMARY KEY (tenant, glass_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE people (
  tenant TEXT NOT NULL,
  person TEXT NOT NULL CHECK (person <> ''),
  public_key BLOB NOT NULL,
  state TEXT NOT NULL,
  recorded INTEGER NOT NULL CHECK (recorded >= 0),
  sign_ins BLOB NOT NULL,
  PRIMARY KEY (tenant, person)
) STRICT, WITHOUT ROWID;

CREATE TABLE policy_proposals (
  tenant TEXT NOT NULL,
  policy TEXT NOT NULL CHECK (policy <> ''),
  proposal_id TEXT NOT NULL,
  state TEXT NOT NULL,
  replaces TEXT NOT NULL,
  widening TEXT NOT NULL,
  person TEXT NOT NULL,
  key_id TEXT NOT NULL,
  proposed_at INTEGER NOT NULL CHECK (proposed_at >= 0),
  answer_by INTEGER NOT NULL CHECK (answer_by >= 0),
  recorded INTEGER NOT NULL CHECK (recorded >= 0),
  PRIMARY KEY (tenant, policy)
) STRICT, WITHOUT ROWID;

CREATE TABLE seen (
  tenant TEXT NOT NULL,
  slot TEXT NOT NULL CHECK (slot <> ''),
  second INTEGER NOT NULL CHECK (second >= 0),
  seen TEXT NOT NULL,
  PRIMARY KEY (tenant, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE client_keys (
  tenant TEXT NOT NULL,
  key_id TEXT NOT NULL CHECK (key_id <> ''),
  client TEXT NOT NULL,
  digest BLOB NOT NULL,
  state TEXT NOT NULL,
  made_at INTEGER NOT NULL CHECK (made_at >= 0),
  expires_at INTEGER NOT NULL CHECK (expires_at >= 0),
  PRIMARY KEY (tenant, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sent (
  tenant TEXT NOT NULL,
  client TEXT NOT NULL,
  key TEXT NOT NULL,
  digest TEXT NOT NULL,
  subject TEXT NOT NULL,
  kept_until INTEGER NOT NULL CHECK (kept_until >= 0),
  PRIMARY KEY (tenant, client, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX sent_until ON sent (kept_until);

CREATE TABLE sessions (
  tenant TEXT NOT NULL,
  session TEXT NOT NULL CHECK (session <> ''),
  person TEXT NOT NULL CHECK (person <> ''),
  sign_in TEXT NOT NULL,
  method TEXT NOT NULL,
  state TEXT NOT NULL,
  authenticated_at INTEGER NOT NULL CHECK (authenticated_at >= 0),
  seen_at INTEGER NOT NULL CHECK (seen_at >= 0),
  expires_at INTEGER NOT NULL CHECK (expires_at >= 0),
  recorded INTEGER NOT NULL CHECK (recorded >= 0),
  PRIMARY KEY (tenant, session)
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_keys (
  tenant TEXT NOT NULL,
  document TEXT NOT NULL CHECK (document <> ''),
  kid TEXT NOT NULL CHECK (kid <> ''),
  made_at INTEGER NOT NULL CHECK (made_at >= 0),
  PRIMARY KEY (tenant, document)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
  tenant TEXT NOT NULL,
  name TEXT NOT NULL CHECK (name <> ''),
  position INTEGER NOT NULL CHECK (position >= 0),
  policy TEXT NOT NULL,
  is_parked INTEGER NOT NULL CHECK (is_parked IN (0, 1)),
  PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
  tenant TEXT NOT NULL,
  delivery_id TEXT NOT NULL CHECK (delivery_id <> ''),
  channel TEXT NOT NULL,
  event TEXT NOT NULL,
  subject TEXT NOT NULL,
  entry INTEGER NOT NULL CHECK (entry >= 0),
  policy TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL CHECK (attempts >= 0),
  due_ms INTEGER NOT NULL CHECK (due_ms >= 0),
  claim TEXT NOT NULL,
  reference TEXT NOT NULL,
  fault TEXT NOT NULL,
  PRIMARY KEY (tenant, delivery_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (due_ms) WHERE state = 'waiting';
CREATE INDEX deliveries_newest ON deliveries (tenant, entry);
CREATE INDEX deliveries_of_subject ON deliveries (tenant, subject, channel);
