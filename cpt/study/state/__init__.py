"""A run, its folder, and what state it is in."""
