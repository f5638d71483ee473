-- Version 1 on PostgreSQL, in the schema `leasehold`: the tables of sqlite_schema_1.sql with the same names, keys and rules.
-- The columns of each table are the fields of its struct in leasehold.decide.rows, in that order. Text is compared byte
-- by byte (collation "C"), as SQLite does. Room is left in the pages of tables whose rows change, so that an update need
-- not touch an index.

CREATE TABLE schema_version (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  application TEXT COLLATE "C" NOT NULL,
  version INTEGER NOT NULL CHECK (version >= 1)
);

-- The last batch of each process that writes: after a COMMIT that got no answer, its row says whether the batch is in.
CREATE TABLE writers (
  writer TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (writer <> ''),
  batch BIGINT NOT NULL CHECK (batch >= 0),
  at_ms BIGINT NOT NULL CHECK (at_ms >= 0)
) WITH (fillfactor = 50);

CREATE TABLE control (
  log TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  issuer TEXT COLLATE "C" NOT NULL CHECK (issuer <> ''),
  epoch BIGINT NOT NULL CHECK (epoch BETWEEN 1 AND 9007199254740991),
  epoch_since BIGINT NOT NULL CHECK (epoch_since >= 0),
  policy TEXT COLLATE "C" NOT NULL,
  policy_since BIGINT NOT NULL CHECK (policy_since >= 0),
  last_time_ms BIGINT NOT NULL CHECK (last_time_ms >= 0),
  size BIGINT NOT NULL CHECK (size >= 0),
  frontier BYTEA NOT NULL,
  epoch_at BIGINT NOT NULL CHECK (epoch_at >= 0)
) WITH (fillfactor = 80);

-- `hashes` is the leaf hash, followed by the hash of each larger complete subtree of the Merkle tree that ends with this
-- entry, 32 bytes each: the node (level, position) stands at entry ((position + 1) << level) - 1, 32 * level bytes in.
CREATE TABLE ledger (
  idx BIGINT NOT NULL PRIMARY KEY CHECK (idx >= 0),
  body BYTEA NOT NULL,
  hashes BYTEA NOT NULL CHECK (octet_length(hashes) >= 32 AND octet_length(hashes) % 32 = 0)
);

CREATE TABLE documents (
  tenant TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL CHECK (id <> ''),
  body BYTEA NOT NULL,
  PRIMARY KEY (tenant, id)
);

CREATE TABLE cards (
  tenant TEXT COLLATE "C" NOT NULL,
  digest TEXT COLLATE "C" NOT NULL CHECK (digest <> ''),
  body BYTEA NOT NULL,
  PRIMARY KEY (tenant, digest)
);

CREATE TABLE runs (
  tenant TEXT COLLATE "C" NOT NULL,
  run_id TEXT COLLATE "C" NOT NULL CHECK (run_id <> ''),
  state TEXT COLLATE "C" NOT NULL,
  attempt BIGINT NOT NULL CHECK (attempt >= 1),
  expires_at BIGINT NOT NULL CHECK (expires_at >= 0),
  recorded BIGINT NOT NULL CHECK (recorded >= 0),
  denials BIGINT NOT NULL CHECK (denials >= 0),
  revoked BIGINT NOT NULL CHECK (revoked IN (0, 1)),
  held BIGINT NOT NULL CHECK (held IN (0, 1)),
  agent TEXT COLLATE "C" NOT NULL,
  requested_by TEXT COLLATE "C" NOT NULL,
  environment TEXT COLLATE "C" NOT NULL,
  route TEXT COLLATE "C" NOT NULL,
  parent_run TEXT COLLATE "C" NOT NULL,
  client TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant, run_id)
) WITH (fillfactor = 80);
CREATE INDEX runs_by_id ON runs (run_id);
CREATE INDEX runs_newest ON runs (tenant, recorded);
CREATE INDEX runs_of_parent ON runs (tenant, parent_run, recorded) WHERE parent_run <> '';
CREATE INDEX runs_open ON runs (expires_at) WHERE state = 'open';
CREATE INDEX runs_open_for ON runs (requested_by, environment, recorded) WHERE state = 'open';
CREATE INDEX runs_held ON runs (tenant) WHERE held = 1;

CREATE TABLE requests (
  tenant TEXT COLLATE "C" NOT NULL,
  request_id TEXT COLLATE "C" NOT NULL CHECK (request_id <> ''),
  run_id TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  attempt BIGINT NOT NULL CHECK (attempt >= 1),
  answer_by BIGINT NOT NULL CHECK (answer_by >= 0),
  use_by BIGINT NOT NULL CHECK (use_by >= 0),
  recorded BIGINT NOT NULL CHECK (recorded >= 0),
  call_digest TEXT COLLATE "C" NOT NULL,
  card_digest TEXT COLLATE "C" NOT NULL,
  answers BYTEA NOT NULL,
  used_by TEXT COLLATE "C" NOT NULL,
  ending TEXT COLLATE "C" NOT NULL,
  bond BYTEA NOT NULL,
  revoked BIGINT NOT NULL CHECK (revoked IN (0, 1)),
  held BIGINT NOT NULL CHECK (held IN (0, 1)),
  PRIMARY KEY (tenant, request_id)
) WITH (fillfactor = 80);
CREATE INDEX requests_by_id ON requests (request_id);
CREATE INDEX requests_of_run ON requests (tenant, run_id, recorded);
CREATE INDEX requests_of_call ON requests (tenant, call_digest) WHERE call_digest <> '';
CREATE INDEX requests_pending ON requests (answer_by) WHERE state = 'pending';
CREATE INDEX requests_pending_of_run ON requests (tenant, run_id) WHERE state = 'pending';
CREATE INDEX requests_approved ON requests (use_by) WHERE state = 'approved';
CREATE INDEX requests_held ON requests (tenant) WHERE held = 1;

CREATE TABLE leases (
  tenant TEXT COLLATE "C" NOT NULL,
  lease_id TEXT COLLATE "C" NOT NULL CHECK (lease_id <> ''),
  run_id TEXT COLLATE "C" NOT NULL,
  request_id TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  issued_at BIGINT NOT NULL CHECK (issued_at >= 0),
  expires_at BIGINT NOT NULL CHECK (expires_at >= 0),
  recorded BIGINT NOT NULL CHECK (recorded >= 0),
  revoked BIGINT NOT NULL CHECK (revoked IN (0, 1)),
  held BIGINT NOT NULL CHECK (held IN (0, 1)),
  PRIMARY KEY (tenant, lease_id)
) WITH (fillfactor = 80);
CREATE INDEX leases_by_id ON leases (lease_id);
CREATE INDEX leases_newest ON leases (tenant, recorded);
CREATE INDEX leases_of_run ON leases (tenant, run_id, recorded);
CREATE INDEX leases_of_request ON leases (tenant, request_id, recorded);
CREATE INDEX leases_active ON leases (expires_at) WHERE state = 'active';
CREATE INDEX leases_held ON leases (tenant) WHERE held = 1;

CREATE TABLE accounts (
  tenant TEXT COLLATE "C" NOT NULL,
  account TEXT COLLATE "C" NOT NULL,
  unit TEXT COLLATE "C" NOT NULL,
  "limit" BIGINT NOT NULL CHECK ("limit" BETWEEN 0 AND 9007199254740991),
  settled BIGINT NOT NULL CHECK (settled BETWEEN 0 AND 9007199254740991),
  reserved BIGINT NOT NULL CHECK (reserved BETWEEN 0 AND 9007199254740991),
  unknown BIGINT NOT NULL CHECK (unknown BETWEEN 0 AND 9007199254740991),
  PRIMARY KEY (tenant, account, unit)
) WITH (fillfactor = 80);

-- The partial index is the small table of open calls: a call leaves it when it is settled.
CREATE TABLE calls (
  tenant TEXT COLLATE "C" NOT NULL,
  admission_id TEXT COLLATE "C" NOT NULL CHECK (admission_id <> ''),
  run_id TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  finish_by BIGINT NOT NULL CHECK (finish_by >= 0),
  late TEXT COLLATE "C" NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (tenant, admission_id)
) WITH (fillfactor = 80);
CREATE INDEX calls_open ON calls (tenant, finish_by) WHERE state = 'admitted';

CREATE TABLE keys (
  tenant TEXT COLLATE "C" NOT NULL,
  run_id TEXT COLLATE "C" NOT NULL,
  action TEXT COLLATE "C" NOT NULL,
  "key" TEXT COLLATE "C" NOT NULL CHECK ("key" <> ''),
  digest TEXT COLLATE "C" NOT NULL,
  admission_id TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant, run_id, action, "key")
) WITH (fillfactor = 80);

CREATE TABLE milestones (
  tenant TEXT COLLATE "C" NOT NULL,
  run_id TEXT COLLATE "C" NOT NULL,
  action TEXT COLLATE "C" NOT NULL,
  is_done BIGINT NOT NULL CHECK (is_done IN (0, 1)),
  open BYTEA NOT NULL,
  PRIMARY KEY (tenant, run_id, action)
) WITH (fillfactor = 80);

CREATE TABLE stops (
  tenant TEXT COLLATE "C" NOT NULL,
  scope TEXT COLLATE "C" NOT NULL CHECK (scope <> ''),
  kind TEXT COLLATE "C" NOT NULL,
  is_active BIGINT NOT NULL CHECK (is_active IN (0, 1)),
  recorded BIGINT NOT NULL CHECK (recorded >= 0),
  at BIGINT NOT NULL CHECK (at >= 0),
  "by" TEXT COLLATE "C" NOT NULL,
  reason TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant, scope, kind)
);
CREATE INDEX stops_active ON stops (tenant) WHERE is_active = 1;

CREATE TABLE breakers (
  tenant TEXT COLLATE "C" NOT NULL,
  route TEXT COLLATE "C" NOT NULL CHECK (route <> ''),
  settled TEXT COLLATE "C" NOT NULL CHECK (settled !~ '[^01]'),
  asked TEXT COLLATE "C" NOT NULL CHECK (asked !~ '[^01]'),
  PRIMARY KEY (tenant, route)
) WITH (fillfactor = 80);

CREATE TABLE glasses (
  tenant TEXT COLLATE "C" NOT NULL,
  glass_id TEXT COLLATE "C" NOT NULL CHECK (glass_id <> ''),
  state TEXT COLLATE "C" NOT NULL,
  opener TEXT COLLATE "C" NOT NULL,
  second TEXT COLLATE "C" NOT NULL,
  route TEXT COLLATE "C" NOT NULL,
  ends_at BIGINT NOT NULL CHECK (ends_at >= 0),
  review_by BIGINT NOT NULL CHECK (review_by >= 0),
  reviewed_by TEXT COLLATE "C" NOT NULL,
  recorded BIGINT NOT NULL CHECK (recorded >= 0),
  PRIMARY KEY (tenant, glass_id)
);

CREATE TABLE people (
  tenant TEXT COLLATE "C" NOT NULL,
  person TEXT COLLATE "C" NOT NULL CHECK (person <> ''),
  public_key BYTEA NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  recorded BIGINT NOT NULL CHECK (recorded >= 0),
  sign_ins BYTEA NOT NULL,
  PRIMARY KEY (tenant, person)
);

CREATE TABLE policy_proposals (
  tenant TEXT COLLATE "C" NOT NULL,
  policy TEXT COLLATE "C" NOT NULL CHECK (policy <> ''),
  proposal_id TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  replaces TEXT COLLATE "C" NOT NULL,
  widening TEXT COLLATE "C" NOT NULL,
  person TEXT COLLATE "C" NOT NULL,
  key_id TEXT COLLATE "C" NOT NULL,
  proposed_at BIGINT NOT NULL CHECK (proposed_at >= 0),
  answer_by BIGINT NOT NULL CHECK (answer_by >= 0),
  recorded BIGINT NOT NULL CHECK (recorded >= 0),
  PRIMARY KEY (tenant, policy)
);

CREATE TABLE seen (
  tenant TEXT COLLATE "C" NOT NULL,
  slot TEXT COLLATE "C" NOT NULL CHECK (slot <> ''),
  second BIGINT NOT NULL CHECK (second >= 0),
  seen TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant, slot)
) WITH (fillfactor = 80);

CREATE TABLE client_keys (
  tenant TEXT COLLATE "C" NOT NULL,
  key_id TEXT COLLATE "C" NOT NULL CHECK (key_id <> ''),
  client TEXT COLLATE "C" NOT NULL,
  digest BYTEA NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  made_at BIGINT NOT NULL CHECK (made_at >= 0),
  expires_at BIGINT NOT NULL CHECK (expires_at >= 0),
  PRIMARY KEY (tenant, key_id)
) WITH (fillfactor = 80);

CREATE TABLE sent (
  tenant TEXT COLLATE "C" NOT NULL,
  client TEXT COLLATE "C" NOT NULL,
  key TEXT COLLATE "C" NOT NULL,
  digest TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  kept_until BIGINT NOT NULL CHECK (kept_until >= 0),
  PRIMARY KEY (tenant, client, key)
) WITH (fillfactor = 80);
CREATE INDEX sent_until ON sent (kept_until);

CREATE TABLE sessions (
  tenant TEXT COLLATE "C" NOT NULL,
  session TEXT COLLATE "C" NOT NULL CHECK (session <> ''),
  person TEXT COLLATE "C" NOT NULL CHECK (person <> ''),
  sign_in TEXT COLLATE "C" NOT NULL,
  method TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  authenticated_at BIGINT NOT NULL CHECK (authenticated_at >= 0),
  seen_at BIGINT NOT NULL CHECK (seen_at >= 0),
  expires_at BIGINT NOT NULL CHECK (expires_at >= 0),
  recorded BIGINT NOT NULL CHECK (recorded >= 0),
  PRIMARY KEY (tenant, session)
) WITH (fillfactor = 80);

CREATE TABLE signing_keys (
  tenant TEXT COLLATE "C" NOT NULL,
  document TEXT COLLATE "C" NOT NULL CHECK (document <> ''),
  kid TEXT COLLATE "C" NOT NULL CHECK (kid <> ''),
  made_at BIGINT NOT NULL CHECK (made_at >= 0),
  PRIMARY KEY (tenant, document)
);

CREATE TABLE cursors (
  tenant TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL CHECK (name <> ''),
  position BIGINT NOT NULL CHECK (position >= 0),
  policy TEXT COLLATE "C" NOT NULL,
  is_parked BIGINT NOT NULL CHECK (is_parked IN (0, 1)),
  PRIMARY KEY (tenant, name)
) WITH (fillfactor = 80);

CREATE TABLE deliveries (
  tenant TEXT COLLATE "C" NOT NULL,
  delivery_id TEXT COLLATE "C" NOT NULL CHECK (delivery_id <> ''),
  channel TEXT COLLATE "C" NOT NULL,
  event TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  entry BIGINT NOT NULL CHECK (entry >= 0),
  policy TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  attempts BIGINT NOT NULL CHECK (attempts >= 0),
  due_ms BIGINT NOT NULL CHECK (due_ms >= 0),
  claim TEXT COLLATE "C" NOT NULL,
  reference TEXT COLLATE "C" NOT NULL,
  fault TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant, delivery_id)
) WITH (fillfactor = 80);
CREATE INDEX deliveries_due ON deliveries (due_ms) WHERE state = 'waiting';
CREATE INDEX deliveries_newest ON deliveries (tenant, entry);
CREATE INDEX deliveries_of_subject ON deliveries (tenant, subject, channel);

-- The entry index: made from the ledger alone, behind the lane, under a lock of its own. Emptying it is always safe.
-- Each index ends with the time and the entry's index, so that "all of X since T, newest first" reads what it answers.

CREATE TABLE projected (
  one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
  issuer TEXT COLLATE "C" NOT NULL,
  size BIGINT NOT NULL,
  last_leaf BYTEA NOT NULL
);

CREATE TABLE entries (
  idx BIGINT NOT NULL PRIMARY KEY,
  time_ms BIGINT NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  tenant TEXT COLLATE "C" NOT NULL,
  person TEXT COLLATE "C" NOT NULL,
  agent TEXT COLLATE "C" NOT NULL,
  run TEXT COLLATE "C" NOT NULL,
  parent_run TEXT COLLATE "C" NOT NULL,
  lease TEXT COLLATE "C" NOT NULL,
  capability TEXT COLLATE "C" NOT NULL,
  action TEXT COLLATE "C" NOT NULL,
  "key" TEXT COLLATE "C" NOT NULL,
  admission TEXT COLLATE "C" NOT NULL,
  decision TEXT COLLATE "C" NOT NULL
);
CREATE INDEX entries_by_time ON entries (time_ms, idx);
CREATE INDEX entries_by_tenant ON entries (tenant, time_ms, idx);
CREATE INDEX entries_by_person ON entries (person, time_ms, idx) WHERE person <> '';
CREATE INDEX entries_by_agent ON entries (agent, time_ms, idx) WHERE agent <> '';
CREATE INDEX entries_by_run ON entries (run, time_ms, idx) WHERE run <> '';
CREATE INDEX entries_by_lease ON entries (lease, time_ms, idx) WHERE lease <> '';
CREATE INDEX entries_by_capability ON entries (capability, time_ms, idx) WHERE capability <> '';
CREATE INDEX entries_by_action ON entries (action, time_ms, idx) WHERE action <> '';
CREATE INDEX entries_by_key ON entries ("key", time_ms, idx) WHERE "key" <> '';
CREATE INDEX entries_by_admission ON entries (admission, time_ms, idx) WHERE admission <> '';

-- What a receipt asks for beside the entries that name a run: the runs started, or refused, under it, and the stops.
CREATE INDEX entries_by_parent ON entries (parent_run) WHERE parent_run <> '' AND kind IN ('run.started', 'run.denied');
CREATE INDEX entries_by_stop ON entries (tenant) WHERE kind IN ('stop.revoked', 'stop.held', 'stop.lifted', 'damaged');

-- One row for each value that a call gave an attribute; `value` is its JSON text, so that 1, "1" and true differ.
CREATE TABLE attributes (
  name TEXT COLLATE "C" NOT NULL,
  value TEXT COLLATE "C" NOT NULL,
  time_ms BIGINT NOT NULL,
  idx BIGINT NOT NULL,
  PRIMARY KEY (name, value, time_ms, idx)
);
