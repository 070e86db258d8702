"""Export and import: the file format, and the runs that write and read it."""
