-- What is to be sent to a Kronvex server. Rows go when the server has them.
CREATE TABLE entries (
    place   INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of sending
    owner   TEXT NOT NULL,
    session TEXT NOT NULL,   -- on the wire: entries of one session are sent in order
    record  TEXT NOT NULL,   -- its id
    payload TEXT NOT NULL,   -- the record, JSON
    tries   INTEGER NOT NULL DEFAULT 0,
    failed  TEXT             -- why it was set aside
);
CREATE INDEX entries_by_owner ON entries (owner);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
