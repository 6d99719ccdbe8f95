"""What came out: the table of all scores, change against the base models, and the report."""
