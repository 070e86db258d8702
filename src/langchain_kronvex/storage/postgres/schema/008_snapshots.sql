-- Snapshots of indexes, in parts. generation: of the owner's records; a snapshot of another one is
-- not read. Whatever takes words out of the store deletes the snapshots that hold them in the same
-- transaction. Workers of an earlier version do not; what they leave is deleted later.
CREATE TABLE IF NOT EXISTS langchain_kronvex.snapshots (
    scope      uuid NOT NULL,
    name       uuid NOT NULL,
    part       integer NOT NULL,
    generation bigint NOT NULL,
    memories   bigint NOT NULL,
    bytes      bytea NOT NULL,
    PRIMARY KEY (scope, name, part)
);
ALTER TABLE langchain_kronvex.snapshots ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- As before, with the new table; its bytes hold words of users.
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
        'langchain_kronvex.second_looks'::regclass,
        'langchain_kronvex.snapshots'::regclass
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
                'search_text', 'metadata', 'vector', 'superseded_by', 'sources', 'bytes'
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
