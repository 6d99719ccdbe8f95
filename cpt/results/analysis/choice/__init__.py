"""Choosing a run: ranking, noise, trade-offs."""
