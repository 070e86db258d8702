-- Records to be sent to a Kronvex server. A row is deleted once the server has its record.
CREATE TABLE entries (
    place   INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of sending
    owner   TEXT NOT NULL,
    session TEXT NOT NULL,   -- the server's: entries of one session are sent in order
    record  TEXT NOT NULL,   -- its id
    payload TEXT NOT NULL,   -- the record as JSON
    tries   INTEGER NOT NULL DEFAULT 0,
    failed  TEXT             -- why the server refused it for good
);
CREATE INDEX entries_by_owner ON entries (owner);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
