-- What a session holds, in its order. It names all kinds, so that only a query that writes out its
-- kind can use it: the search for the records at given places, whose kinds are parameters, has
-- records_key. While the planner's counts were small or missing, it took this index for that and
-- read each owner's session from end to end once for every place.
DROP INDEX IF EXISTS langchain_kronvex.records_session;
CREATE INDEX records_session ON langchain_kronvex.records (scope, kind, session_id, seq)
    WHERE kind IN ('memory', 'message', 'item');
