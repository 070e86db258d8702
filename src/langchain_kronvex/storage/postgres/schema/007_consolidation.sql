-- The ids of the memories that this one was derived from; NULL for none.
ALTER TABLE langchain_kronvex.records ADD COLUMN IF NOT EXISTS sources text[];
CREATE INDEX IF NOT EXISTS records_derived ON langchain_kronvex.records (scope)
    WHERE sources IS NOT NULL;
-- The newest standing instructions of an owner, without reading all other statements.
CREATE INDEX IF NOT EXISTS records_procedures
    ON langchain_kronvex.records (scope, pinned, created, seq)
    WHERE kind = 'memory' AND type = 'procedural';

-- How far an owner's memories have been consolidated: those up to `seq`, and no other up to
-- `revision`. `worker` has claimed the owner until `until`.
CREATE TABLE IF NOT EXISTS langchain_kronvex.consolidations (
    scope    uuid PRIMARY KEY,
    seq      bigint NOT NULL DEFAULT 0,
    revision bigint NOT NULL DEFAULT 0,
    worker   text NOT NULL DEFAULT '',
    until    timestamptz NOT NULL DEFAULT to_timestamp(0)
);

-- Memories to look at again: their text has changed, or they were set aside.
CREATE TABLE IF NOT EXISTS langchain_kronvex.second_looks (
    scope     uuid NOT NULL,
    seq       bigint NOT NULL,
    set_aside boolean NOT NULL,
    PRIMARY KEY (scope, seq)
);

-- As before, with the new tables; `sources` are ids as well.
CREATE OR REPLACE FUNCTION langchain_kronvex.unguarded(
    OUT whole regclass, OUT part regclass, OUT is_own boolean, OUT sampled name[],
    OUT is_open boolean
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH RECURSIVE tree (whole, part) AS (
    SELECT each, each FROM unnest(ARRAY[
        'langchain_kronvex.scopes'::regclass, 'langchain_kronvex.records'::regclass,
        'langchain_kronvex.accesses'::regclass, 'langchain_kronvex.upcoming_vectors'::regclass,
        'langchain_kronvex.claims'::regclass, 'langchain_kronvex.consolidations'::regclass,
        'langchain_kronvex.second_looks'::regclass
    ]) AS each
    UNION ALL
    SELECT tree.whole, i.inhrelid::regclass FROM tree JOIN pg_inherits AS i ON i.inhparent = part
),
found AS (
    SELECT tree.*, pg_has_role(c.relowner, 'USAGE') AS is_own,
        ARRAY(
            SELECT a.attname FROM pg_attribute AS a
            WHERE a.attrelid = part AND a.attstattarget IS DISTINCT FROM 0
            AND a.attname = ANY (ARRAY[
                'scope', 'owner', 'user_id', 'session_id', 'id', 'key', 'key_digest', 'content',
                'search_text', 'metadata', 'vector', 'superseded_by', 'sources'
            ])
        ) AS sampled,
        (SELECT relrowsecurity FROM pg_class WHERE oid = 'langchain_kronvex.records'::regclass)
        AND NOT (
            c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (
                SELECT FROM pg_policy WHERE polrelid = part AND polname = 'within_reach'
            )
        ) AS is_open
    FROM tree JOIN pg_class AS c ON c.oid = part AND c.relkind IN ('r', 'p')
)
SELECT * FROM found WHERE is_open OR sampled <> '{}'
$body$;

SELECT langchain_kronvex.guard_tables();
