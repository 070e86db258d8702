"""What every room knows of a store: its URL, its settings, what it is asked and what it finds."""
