-- As before, but without regard to the indexes of single owners, which are gone. ANALYZE leaves what
-- it collected of a column whose target was set to 0 later: PostgreSQL 18 has a function that clears
-- it; in earlier versions only a change of the column's type does, also when the type stays the same.
-- No row is rewritten for that, but it takes the whole table with its partitions, and is refused while
-- a view shows the column.
CREATE OR REPLACE FUNCTION langchain_kronvex.clear_samples() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    found record;
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

SELECT langchain_kronvex.guard_tables();
