-- From when and until when a memory was true; valid_from is NULL for `said`. superseded_by: the id
-- of the memory that took its place; NULL, as valid_until, for none.
ALTER TABLE langchain_kronvex.records
    ADD COLUMN valid_from timestamptz,
    ADD COLUMN valid_until timestamptz,
    ADD COLUMN superseded_by text;

-- When a memory was last recalled; NULL if that was before this column.
ALTER TABLE langchain_kronvex.accesses ADD COLUMN latest timestamptz;
