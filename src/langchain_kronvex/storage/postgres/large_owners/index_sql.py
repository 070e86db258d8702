"""The indexes that a huge owner of PostgreSQL gets in the database, and only they: their SQL.

They are partial, so that nobody else's writes touch them: words (GIN), vectors (HNSW), and types.
"""

from __future__ import annotations

from uuid import UUID

from langchain_kronvex.recall.tokenizer import UNSPACED

MOST_DIMENSIONS = 4000  # that HNSW takes
_LIKE = "huge_"
_WORD_CHARS = 50_000  # of a memory, by whose words it can be found
# Marks that the server's parser would read as part of a word, an address, a number or a tag.
_MARKS = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"

# Of all huge owners, as `c` and `i`.
ALL = (
    "FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
    "WHERE i.indrelid = 'langchain_kronvex.records'::regclass AND c.relname ~ '^huge_[0-9a-f]{32}_'"
)
# Whether the server may have taken samples of what one was made of, see `unsampled`.
IS_SAMPLED = (
    "(c.relname !~ '_types$' AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid "
    "AND a.attnum = 1 AND a.attstattarget IS DISTINCT FROM 0))"
)
# Whether some are of no use, and the role's to drop; with a parameter: whether all are.
ARE_LEFT_OVER = (
    f"SELECT EXISTS (SELECT {ALL} AND pg_has_role(c.relowner, 'USAGE') AND (%s OR {IS_SAMPLED} "
    "OR NOT EXISTS (SELECT FROM langchain_kronvex.scopes AS s WHERE s.scope = "
    "CASE WHEN c.relname ~ '^huge_[0-9a-f]{32}_' THEN substr(c.relname, 6, 32)::uuid END)))"
)


def words_of(content: str) -> str:
    """Return the SQL of the words of a text, split much as `lexical` does.

    Characters of scripts without spaces are words of their own there: pairs of them are phrases.
    """
    marks = _MARKS.replace("'", "''")
    plain = (
        f"translate(lower(normalize(left({content}, {_WORD_CHARS}), NFKC)), "
        f"'{marks}', '{' ' * len(_MARKS)}')"
    )
    return (
        "to_tsvector('pg_catalog.english', "
        f"regexp_replace({plain}, '([{UNSPACED}])', ' \\1 ', 'g'))"
    )


def query_words(query: str) -> str:
    """Return the SQL of what is looked for among `words_of`."""
    return f"to_tsquery('pg_catalog.english', {query})"


def vector_of(column: str, width: int) -> str:
    """Return the SQL of a vector as it is indexed."""
    return f"({column}::pgvector.halfvec({width}))"


def of_owner(scope: UUID, prefix: str = "r.") -> str:
    """Return the condition of the partial indexes: it is written out, not a parameter."""
    return f"{prefix}scope = '{scope}' AND {prefix}kind = 'memory'"


def has_width(width: int, prefix: str = "r.") -> str:
    """Return the condition of the vectors of a width, without which no index would take them."""
    return f"pgvector.vector_dims({prefix}vector) = {width}"


def prefix_of(scope: UUID) -> str:
    """Return how the names of an owner's indexes begin."""
    return f"{_LIKE}{scope.hex}_"


def owner_of(name: str) -> UUID | None:
    """Return whose index this is."""
    if not name.startswith(_LIKE):
        return None
    try:
        return UUID(hex=name[len(_LIKE) : len(_LIKE) + 32])
    except ValueError:
        return None


def wanted(scope: UUID, width: int | None) -> dict[str, str]:
    """Return the statements that make an owner's indexes, by their names.

    Args:
        scope: Of the owner.
        width: Of the vectors; None while there are none.
    """
    records, whose = "langchain_kronvex.records", of_owner(scope, "")
    names = prefix_of(scope)
    made = {
        f"{names}words": f"{records} USING gin (({words_of('content')})) "
        f"WITH (fastupdate = off) WHERE {whose}",
        f"{names}types": f"{records} (type, seq) WHERE {whose}",
    }
    if width is not None:
        made[f"{names}vectors_{width}"] = (
            f"{records} USING hnsw ({vector_of('vector', width)} pgvector.halfvec_ip_ops) "
            f"WHERE {whose} AND {has_width(width, '')}"
        )
    return {
        name: f'CREATE INDEX CONCURRENTLY IF NOT EXISTS "{name}" ON {rest}'
        for name, rest in made.items()
    }


def is_of_texts(name: str) -> bool:
    """Tell whether an index is made of what users wrote, or of its vectors."""
    return not name.endswith("_types")


def unsampled(name: str) -> str:
    """Return the statement that keeps the server from taking samples of an index's words."""
    return f'ALTER INDEX langchain_kronvex."{name}" ALTER COLUMN 1 SET STATISTICS 0'
