-- One owner's records within one agent. The owner '' is the agent level.
-- scope: a digest of agent and owner (see rows.py). It leads every primary key and unique
-- index, so that all tables can be partitioned or distributed by it.
-- revision: number of the last write; generation: changes whenever a visible record vanishes, and
-- never has a value twice. memories: at least how many there are; told right when it matters.
CREATE SEQUENCE langchain_kronvex.generations;

CREATE TABLE langchain_kronvex.scopes (
    scope      uuid PRIMARY KEY,
    agent_id   text COLLATE "C" NOT NULL,
    owner      text COLLATE "C" NOT NULL,
    revision   bigint NOT NULL DEFAULT 0,
    generation bigint NOT NULL DEFAULT nextval('langchain_kronvex.generations'),
    memories   bigint NOT NULL DEFAULT 0
);

CREATE SEQUENCE langchain_kronvex.records_seq;

-- seq is the order of writing. An id that was not given is ''. said: when it was first said, which
-- never changes; created: when it was last said. key_digest: of the key, which may be too long for
-- an index. vector: of coalesce(search_text, content), of unit length.
CREATE TABLE langchain_kronvex.records (
    scope       uuid NOT NULL,
    seq         bigint NOT NULL DEFAULT nextval('langchain_kronvex.records_seq'),
    kind        text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    user_id     text COLLATE "C" NOT NULL,
    session_id  text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    key_digest  bytea NOT NULL,
    type        text COLLATE "C" NOT NULL,
    content     text NOT NULL,
    search_text text,
    metadata    json NOT NULL,
    said        timestamptz NOT NULL,
    created     timestamptz NOT NULL,
    expires     timestamptz,
    pinned      boolean NOT NULL,
    revision    bigint NOT NULL,
    vector      pgvector.halfvec,
    PRIMARY KEY (scope, seq)
);
ALTER TABLE langchain_kronvex.records ALTER COLUMN vector SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX records_id ON langchain_kronvex.records (scope, id);
CREATE UNIQUE INDEX records_key
    ON langchain_kronvex.records (scope, kind, session_id, key_digest);
CREATE INDEX records_session ON langchain_kronvex.records (scope, kind, session_id, seq);
CREATE INDEX records_revision
    ON langchain_kronvex.records (scope, revision) WHERE kind = 'memory';
CREATE INDEX records_expires
    ON langchain_kronvex.records (scope, expires) WHERE expires IS NOT NULL AND NOT pinned;
CREATE INDEX records_unembedded
    ON langchain_kronvex.records (scope, seq) WHERE kind = 'memory' AND vector IS NULL;
-- For the verbs of a whole agent: by an id alone, and in the order of writing. They are not unique,
-- so that they stand in the way of no partitioning.
CREATE INDEX records_any_id ON langchain_kronvex.records USING hash (id);
CREATE INDEX records_any_seq ON langchain_kronvex.records USING brin (seq)
    WITH (pages_per_range = 16, autosummarize = on);

-- Apart from the records, so that counting an access rewrites no text.
CREATE TABLE langchain_kronvex.accesses (
    scope uuid NOT NULL,
    seq   bigint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (scope, seq)
) WITH (fillfactor = 70);

-- Which model made an agent's vectors, and how wide they are (NULL until the first is there).
-- upcoming: of the model with which the agent is being reindexed.
CREATE TABLE langchain_kronvex.models (
    agent_id text COLLATE "C" NOT NULL,
    upcoming boolean NOT NULL,
    model    text NOT NULL,
    width    integer,
    PRIMARY KEY (agent_id, upcoming)
);

-- What a reindexing has computed so far; it takes the place of records.vector when complete.
CREATE TABLE langchain_kronvex.upcoming_vectors (
    scope  uuid NOT NULL,
    seq    bigint NOT NULL,
    vector pgvector.halfvec NOT NULL,
    PRIMARY KEY (scope, seq)
);

-- Memories whose vectors a worker is fetching; after `until` any other may take them over.
CREATE TABLE langchain_kronvex.claims (
    scope  uuid NOT NULL,
    seq    bigint NOT NULL,
    worker uuid NOT NULL,
    until  timestamptz NOT NULL,
    PRIMARY KEY (scope, seq)
);

-- For row-level security, which is off until it is asked for.
CREATE FUNCTION langchain_kronvex.is_within_reach(scope uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE current_setting('kronvex.reach', true)
    WHEN '*' THEN true
    ELSE scope = ANY (
        string_to_array(nullif(current_setting('kronvex.reach', true), ''), ',')::uuid[]
    )
END;
