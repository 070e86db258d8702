"""The REST API, asked by real clients over real sockets."""
