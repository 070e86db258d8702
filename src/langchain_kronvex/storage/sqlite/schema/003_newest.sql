-- The newest statements of an owner, those that are pinned apart, and the newest other memories,
-- without reading all that the owner has.
CREATE INDEX IF NOT EXISTS records_statements ON records (scope, pinned, created, seq)
    WHERE kind = 'memory' AND type <> 'episodic';
CREATE INDEX IF NOT EXISTS records_episodes ON records (scope, created, seq)
    WHERE kind = 'memory' AND type = 'episodic';
