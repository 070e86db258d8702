-- Snapshots of indexes: files in the folder beside the store, each with its name here. A file whose
-- name is not here is not read. ready: it is complete. memories: how many it holds.
CREATE TABLE snapshots (
    name     TEXT PRIMARY KEY,
    scope    INTEGER NOT NULL REFERENCES scopes (scope),
    memories INTEGER NOT NULL,
    ready    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX snapshots_scope ON snapshots (scope);

-- Whatever takes words out of the store takes the snapshots that hold them along. A connection that
-- writes deletes the files in the same step.
CREATE TRIGGER snapshots_outdated AFTER UPDATE OF generation ON scopes
WHEN new.generation <> old.generation BEGIN
    DELETE FROM snapshots WHERE scope = old.scope;
END;
CREATE TRIGGER snapshots_end BEFORE DELETE ON scopes BEGIN
    DELETE FROM snapshots WHERE scope = old.scope;
END;
CREATE TRIGGER snapshots_of_deleted AFTER DELETE ON records WHEN old.kind = 'memory' BEGIN
    DELETE FROM snapshots WHERE scope = old.scope;
END;
-- An exchange may get a longer answer, whose beginning stays.
CREATE TRIGGER snapshots_of_changed AFTER UPDATE OF content, search_text, metadata ON records
WHEN old.kind = 'memory' AND (
    coalesce(new.search_text, new.content) <> coalesce(old.search_text, old.content)
    OR (
        old.search_text IS NOT NULL
        AND substr(new.content, 1, length(old.content)) <> old.content
    )
    OR new.metadata <> old.metadata
) BEGIN
    DELETE FROM snapshots WHERE scope = old.scope;
END;
