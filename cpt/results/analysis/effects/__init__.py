"""Effects of the axes of a study, with intervals."""
