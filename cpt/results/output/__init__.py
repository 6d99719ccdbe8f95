"""Results on the terminal and as files."""
