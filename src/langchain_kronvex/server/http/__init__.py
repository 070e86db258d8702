"""What every request passes: authentication, rate limits, error bodies, the access log."""
