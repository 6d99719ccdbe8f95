"""Changes between two models: tests, pairs, forgetting."""
