// The tables of a store's file, version by version. A file of an earlier version is brought up step by step, in one
// transaction; append only: what a step once did, it does for ever.

/** Says whose file it is (`PRAGMA application_id`): 'errd'. */
export const APPLICATION_ID = 0x65727264

export const MIGRATIONS: readonly string[] = [
  // Version 1. A piece is consecutive chunks of a log that were written together; `heads` has count, errors, length and
  // checksum of each. Rows and pieces are kept in the order they came, so that writing is appending.
  `CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
   CREATE TABLE kept (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, crc INTEGER NOT NULL, value BLOB NOT NULL);
   CREATE UNIQUE INDEX kept_at ON kept (kind, key);
   CREATE TABLE log (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, start INTEGER NOT NULL, ceiling INTEGER NOT NULL);
   CREATE TABLE cursor (log INTEGER NOT NULL, reader TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (log, reader)) WITHOUT ROWID;
   CREATE TABLE piece (id INTEGER PRIMARY KEY, log INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
     before INTEGER NOT NULL, cost INTEGER NOT NULL, crc INTEGER NOT NULL, heads BLOB NOT NULL, bytes BLOB NOT NULL);
   CREATE INDEX piece_at ON piece (log, first);`,
  // Version 2. Which opening of the store wrote a log last, and which openings a host's crash ended: only their logs may
  // miss what had been accepted. What is to be deleted and was too much for one transaction.
  `ALTER TABLE log ADD COLUMN run INTEGER NOT NULL DEFAULT 0;
   CREATE TABLE lost_run (run INTEGER PRIMARY KEY);
   CREATE TABLE garbage (log INTEGER PRIMARY KEY, until INTEGER NOT NULL);`,
]

export const VERSION: number = MIGRATIONS.length

/** Those that are made again when they are damaged. */
export const INDEXES: Readonly<Record<string, string>> = {
  kept_at: 'CREATE UNIQUE INDEX kept_at ON kept (kind, key)',
  piece_at: 'CREATE INDEX piece_at ON piece (log, first)',
}
