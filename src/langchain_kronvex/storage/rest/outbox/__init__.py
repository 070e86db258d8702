"""The durable queue of writes that a Kronvex REST API has not confirmed yet."""
