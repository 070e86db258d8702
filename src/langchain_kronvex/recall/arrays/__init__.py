"""The growing arrays of an index, which can be views of a snapshot."""
