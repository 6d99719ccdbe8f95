"""The report: one page for people, made of sections, each a file."""
