"""HTTP: the middlewares, the route class of every endpoint, rate limits, and error responses."""
