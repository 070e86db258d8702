"""What is true of a user now: read without a question, and kept as a document of a schema."""
