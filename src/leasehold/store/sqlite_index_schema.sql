-- The entry index: a file of its own beside the database, made from the ledger alone. Deleting it is always safe.
-- Each index ends with the time, so that "all of X since T, newest first" reads what it answers and nothing else; the
-- rowid, which is the entry's index, closes each of them.

CREATE TABLE projected (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  issuer TEXT NOT NULL,
  size INTEGER NOT NULL,
  last_leaf BLOB NOT NULL
) STRICT;

CREATE TABLE entries (
  idx INTEGER NOT NULL PRIMARY KEY,
  time_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  tenant TEXT NOT NULL,
  person TEXT NOT NULL,
  agent TEXT NOT NULL,
  run TEXT NOT NULL,
  parent_run TEXT NOT NULL,
  lease TEXT NOT NULL,
  capability TEXT NOT NULL,
  action TEXT NOT NULL,
  "key" TEXT NOT NULL,
  admission TEXT NOT NULL,
  decision TEXT NOT NULL
) STRICT;
CREATE INDEX entries_by_time ON entries (time_ms);
CREATE INDEX entries_by_tenant ON entries (tenant, time_ms);
CREATE INDEX entries_by_person ON entries (person, time_ms) WHERE person <> '';
CREATE INDEX entries_by_agent ON entries (agent, time_ms) WHERE agent <> '';
CREATE INDEX entries_by_run ON entries (run, time_ms) WHERE run <> '';
CREATE INDEX entries_by_lease ON entries (lease, time_ms) WHERE lease <> '';
CREATE INDEX entries_by_capability ON entries (capability, time_ms) WHERE capability <> '';
CREATE INDEX entries_by_action ON entries (action, time_ms) WHERE action <> '';
CREATE INDEX entries_by_key ON entries ("key", time_ms) WHERE "key" <> '';
CREATE INDEX entries_by_admission ON entries (admission, time_ms) WHERE admission <> '';

-- What a receipt asks for beside the entries that name a run: the runs started, or refused, under it, and the stops.
CREATE INDEX entries_by_parent ON entries (parent_run) WHERE parent_run <> '' AND kind IN ('run.started', 'run.denied');
CREATE INDEX entries_by_stop ON entries (tenant) WHERE kind IN ('stop.revoked', 'stop.held', 'stop.lifted', 'damaged');

-- One row for each value that a call gave an attribute; `value` is its JSON text, so that 1, "1" and true differ.
CREATE TABLE attributes (
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  idx INTEGER NOT NULL,
  PRIMARY KEY (name, value, time_ms, idx)
) STRICT, WITHOUT ROWID;
