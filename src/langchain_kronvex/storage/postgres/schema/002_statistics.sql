-- What users wrote, and who they are, is in the tables alone. For its planner the server takes
-- samples of columns, which anybody who owns the tables can read after the rows are gone; of these
-- columns it is to take none. Numbers and times are enough to plan by.
--
-- Neither that nor row-level security is handed down to a partition that is made later, so that
-- both are looked after when a worker opens the database.

-- The tables with users' rows, and their partitions, that lack something: of which columns samples
-- are taken, and whether row-level security, being on, does not hold here (is_open).
CREATE FUNCTION langchain_kronvex.unguarded(
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
                'search_text', 'metadata', 'vector'
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

-- Mends what is missing, as far as the role owns it.
CREATE FUNCTION langchain_kronvex.guard_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT * FROM langchain_kronvex.unguarded() WHERE is_own AND is_open LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', found.part);
        -- Holds the owner of the table to it as well.
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', found.part);
        EXECUTE format('DROP POLICY IF EXISTS within_reach ON %s', found.part);
        EXECUTE format(
            'CREATE POLICY within_reach ON %s USING (%s(scope))',
            found.part, 'langchain_kronvex.is_within_reach'::regproc
        );
    END LOOP;
    PERFORM langchain_kronvex.clear_samples();
    FOR found IN SELECT * FROM langchain_kronvex.unguarded() WHERE is_own AND sampled <> '{}' LOOP
        EXECUTE (
            SELECT format('ALTER TABLE ONLY %s ', found.part)
                || string_agg(format('ALTER COLUMN %I SET STATISTICS 0', name), ', ')
            FROM unnest(found.sampled) AS name
        );
    END LOOP;
END
$body$;

-- Removes the samples that were taken, which would stay for ever. Before PostgreSQL 18, only a
-- change of a column's type does so, also when it is the same: no row is written anew for that, but
-- it takes the whole table with its partitions, is refused while a view shows the column, and would
-- make the indexes of owners with very many memories anew, which is left to the background.
CREATE FUNCTION langchain_kronvex.clear_samples() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    found record;
    name  text;
BEGIN
    IF to_regproc('pg_catalog.pg_clear_attribute_stats') IS NOT NULL THEN
        FOR found IN
            SELECT n.nspname, c.relname, column_name, inherited
            FROM langchain_kronvex.unguarded() AS u JOIN pg_class AS c ON c.oid = u.part
            JOIN pg_namespace AS n ON n.oid = c.relnamespace,
                unnest(u.sampled) AS column_name, unnest(ARRAY[false, true]) AS inherited
            WHERE u.is_own
        LOOP
            EXECUTE format(
                'SELECT pg_clear_attribute_stats(%L, %L, %L, %L)',
                found.nspname, found.relname, found.column_name, found.inherited
            );
        END LOOP;
        RETURN;
    END IF;
    FOR name IN
        SELECT i.indexrelid::regclass FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        WHERE i.indrelid IN (SELECT part FROM langchain_kronvex.unguarded() WHERE is_own)
        AND starts_with(c.relname, 'huge_')
    LOOP
        EXECUTE format('DROP INDEX %s', name);
    END LOOP;
    FOR found IN
        SELECT whole, array_agg(DISTINCT column_name) AS columns
        FROM langchain_kronvex.unguarded(), unnest(sampled) AS column_name
        WHERE is_own GROUP BY whole, column_name = 'scope'  -- which may be part of a partition's key
    LOOP
        BEGIN
            EXECUTE (
                SELECT format('ALTER TABLE %s ', found.whole) || string_agg(
                    format('ALTER COLUMN %I TYPE %s', a.attname,
                           format_type(a.atttypid, a.atttypmod))
                    || coalesce(
                        ' COLLATE ' || nullif(a.attcollation, 0)::regcollation, ''
                    ), ', '
                )
                FROM pg_attribute AS a
                WHERE a.attrelid = found.whole AND a.attname = ANY (found.columns)
            );
        EXCEPTION
            WHEN insufficient_privilege OR feature_not_supported OR invalid_table_definition THEN
            RAISE WARNING 'samples of % that were taken stay: %', found.whole, SQLERRM;
        END;
    END LOOP;
END
$body$;

-- A transaction that has not said what it reaches is refused rather than shown nothing: a worker
-- that was open when row-level security was turned on would take that for an answer.
CREATE FUNCTION langchain_kronvex.no_reach() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $body$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'KX001',
        MESSAGE = 'row-level security: the setting kronvex.reach does not say whose rows are meant',
        HINT = 'SELECT set_config(''kronvex.reach'', ''<scope>'', true); several with commas, or *';
END
$body$;

CREATE OR REPLACE FUNCTION langchain_kronvex.is_within_reach(scope uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN current_setting('kronvex.reach', true) = '*' THEN true
    WHEN coalesce(current_setting('kronvex.reach', true), '') = '' THEN langchain_kronvex.no_reach()
    ELSE scope = ANY (string_to_array(current_setting('kronvex.reach', true), ',')::uuid[])
END;

SELECT langchain_kronvex.guard_tables();
