"""The REST API, called by real clients over real sockets."""
