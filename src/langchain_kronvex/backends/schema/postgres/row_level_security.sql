-- Lets a role see and write only what its transaction says that it reaches: the owners' scopes in
-- the setting kronvex.reach, separated by commas, or * for the verbs of a whole agent.
-- FORCE holds the owner of the tables to it as well.
ALTER TABLE langchain_kronvex.scopes ENABLE ROW LEVEL SECURITY;
ALTER TABLE langchain_kronvex.scopes FORCE ROW LEVEL SECURITY;
CREATE POLICY within_reach ON langchain_kronvex.scopes
    USING (langchain_kronvex.is_within_reach(scope));
ALTER TABLE langchain_kronvex.accesses ENABLE ROW LEVEL SECURITY;
ALTER TABLE langchain_kronvex.accesses FORCE ROW LEVEL SECURITY;
CREATE POLICY within_reach ON langchain_kronvex.accesses
    USING (langchain_kronvex.is_within_reach(scope));
ALTER TABLE langchain_kronvex.upcoming_vectors ENABLE ROW LEVEL SECURITY;
ALTER TABLE langchain_kronvex.upcoming_vectors FORCE ROW LEVEL SECURITY;
CREATE POLICY within_reach ON langchain_kronvex.upcoming_vectors
    USING (langchain_kronvex.is_within_reach(scope));
ALTER TABLE langchain_kronvex.claims ENABLE ROW LEVEL SECURITY;
ALTER TABLE langchain_kronvex.claims FORCE ROW LEVEL SECURITY;
CREATE POLICY within_reach ON langchain_kronvex.claims
    USING (langchain_kronvex.is_within_reach(scope));
-- Last: it tells whether all of this has been done.
ALTER TABLE langchain_kronvex.records ENABLE ROW LEVEL SECURITY;
ALTER TABLE langchain_kronvex.records FORCE ROW LEVEL SECURITY;
CREATE POLICY within_reach ON langchain_kronvex.records
    USING (langchain_kronvex.is_within_reach(scope));
