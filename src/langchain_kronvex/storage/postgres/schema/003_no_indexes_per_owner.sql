-- Earlier versions made indexes for single owners with very many memories. Nothing reads them now.
-- The column scopes.memories stays, because workers of an earlier version may still write it.
DO $body$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT i.indexrelid::regclass FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        WHERE i.indrelid = 'langchain_kronvex.records'::regclass
        AND c.relname ~ '^huge_[0-9a-f]{32}_'
    LOOP
        EXECUTE format('DROP INDEX %s', name);
    END LOOP;
END
$body$;
