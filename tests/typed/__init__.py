"""What type checkers make of the public verbs: `make types` reads these tests, pytest runs them."""
