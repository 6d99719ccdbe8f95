"""The plan of a study: tokens, steps, time, cost, disk."""
