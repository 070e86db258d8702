-- A JSON array of the ids of the memories that this one was derived from; NULL for none.
ALTER TABLE records ADD COLUMN sources TEXT;
CREATE INDEX records_derived ON records (scope) WHERE sources IS NOT NULL;
-- The newest standing instructions of an owner, without reading all other statements.
CREATE INDEX records_procedures ON records (scope, pinned, created, seq)
    WHERE kind = 'memory' AND type = 'procedural';

-- How far an owner's memories have been consolidated: those up to `seq`, and no other up to
-- `revision`. `worker` has claimed the owner until `until`, in microseconds since 1970.
CREATE TABLE consolidations (
    scope    INTEGER PRIMARY KEY REFERENCES scopes (scope),
    seq      INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 0,
    worker   TEXT NOT NULL DEFAULT '',
    until    INTEGER NOT NULL DEFAULT 0
);
CREATE TRIGGER consolidations_end BEFORE DELETE ON scopes BEGIN
    DELETE FROM consolidations WHERE scope = old.scope;
END;

-- Memories to look at again: their text has changed, or they were set aside.
CREATE TABLE second_looks (
    seq       INTEGER PRIMARY KEY REFERENCES records (seq),
    set_aside INTEGER NOT NULL
);
