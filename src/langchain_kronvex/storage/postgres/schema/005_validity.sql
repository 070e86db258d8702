-- From when and until when a memory was true; valid_from is NULL for `said`. superseded_by: the id
-- of the memory that took its place; NULL, as valid_until, for none.
ALTER TABLE langchain_kronvex.records
    ADD COLUMN IF NOT EXISTS valid_from timestamptz,
    ADD COLUMN IF NOT EXISTS valid_until timestamptz,
    ADD COLUMN IF NOT EXISTS superseded_by text;
CREATE INDEX IF NOT EXISTS records_superseded ON langchain_kronvex.records (scope, superseded_by)
    WHERE superseded_by IS NOT NULL;

-- When a memory was last recalled; NULL if that was before this column.
ALTER TABLE langchain_kronvex.accesses ADD COLUMN IF NOT EXISTS latest timestamptz;

-- As before; `superseded_by` is an id as well.
CREATE OR REPLACE FUNCTION langchain_kronvex.unguarded(
    OUT whole regclass, OUT part regclass, OUT is_own boolean, OUT sampled name[],
    OUT is_open boolean
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH RECURSIVE tree (whole, part) AS (
    SELECT each, each FROM unnest(ARRAY[
        'langchain_kronvex.scopes'::regclass, 'langchain_kronvex.records'::regclass,
        'langchain_kronvex.accesses'::regclass, 'langchain_kronvex.upcoming_vectors'::regclass,
        'langchain_kronvex.claims'::regclass
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
                'search_text', 'metadata', 'vector', 'superseded_by'
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
