"""Everything that is checked before a study starts."""
