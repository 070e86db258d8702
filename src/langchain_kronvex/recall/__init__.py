"""One user's memories in RAM: tokens, postings, vectors and ranking. No input or output."""
