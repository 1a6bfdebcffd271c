"""What is said of each operator, a file per theme; a new file is found by its name."""
