-- One owner's records within one agent. The owner "" is the agent level.
-- revision: number of the last write; generation: changes whenever a visible record vanishes.
CREATE TABLE scopes (
    scope      INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id   TEXT NOT NULL,
    owner      TEXT NOT NULL,
    revision   INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    UNIQUE (agent_id, owner)
);

-- seq is the order of writing. Times are microseconds since 1970, UTC. An id that was not given
-- is ''. said: when it was first said, which never changes; created: when it was last said.
-- vector: of coalesce(search_text, content); unit length, 16-bit floats, little-endian.
CREATE TABLE records (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    scope       INTEGER NOT NULL REFERENCES scopes (scope),
    kind        TEXT NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    user_id     TEXT NOT NULL,
    session_id  TEXT NOT NULL,
    key         TEXT NOT NULL,
    type        TEXT NOT NULL,
    content     TEXT NOT NULL,
    search_text TEXT,
    metadata    TEXT NOT NULL,
    said        INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER,
    pinned      INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    vector      BLOB
);
CREATE UNIQUE INDEX records_key ON records (scope, kind, session_id, key);
CREATE INDEX records_revision ON records (scope, kind, revision);
CREATE INDEX records_session ON records (scope, kind, session_id, seq);
CREATE INDEX records_expires ON records (expires) WHERE expires IS NOT NULL;
CREATE INDEX records_unembedded ON records (seq) WHERE kind = 'memory' AND vector IS NULL;

-- Apart from the records, so that counting an access rewrites no text.
CREATE TABLE accesses (
    seq   INTEGER PRIMARY KEY REFERENCES records (seq),
    count INTEGER NOT NULL
);

-- Which model made an agent's vectors, and how wide they are (NULL until the first is there).
-- upcoming: 1 for the model with which the agent is being reindexed.
CREATE TABLE models (
    agent_id TEXT NOT NULL,
    upcoming INTEGER NOT NULL,
    model    TEXT NOT NULL,
    width    INTEGER,
    PRIMARY KEY (agent_id, upcoming)
) WITHOUT ROWID;

-- What a reindexing has computed so far; it takes the place of records.vector when complete.
CREATE TABLE upcoming_vectors (
    seq    INTEGER PRIMARY KEY REFERENCES records (seq),
    vector BLOB NOT NULL
);

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
