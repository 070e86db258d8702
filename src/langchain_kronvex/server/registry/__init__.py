"""The server's own tables: its agents and API keys."""
