"""The last stage of a study: comparison, report and mirrors."""
