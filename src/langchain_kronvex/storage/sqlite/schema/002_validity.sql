-- From when and until when a memory was true, in microseconds since 1970; valid_from is NULL for
-- `said`. superseded_by: the id of the memory that took its place; NULL, as valid_until, for none.
ALTER TABLE records ADD COLUMN valid_from INTEGER;
ALTER TABLE records ADD COLUMN valid_until INTEGER;
ALTER TABLE records ADD COLUMN superseded_by TEXT;
CREATE INDEX records_superseded ON records (superseded_by) WHERE superseded_by IS NOT NULL;

-- When a memory was last recalled, in microseconds since 1970; NULL if that was before this column.
ALTER TABLE accesses ADD COLUMN latest INTEGER;
