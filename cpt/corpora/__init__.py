"""Text in: where documents come from, how they are formatted, how much of them there is."""
