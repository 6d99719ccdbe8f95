"""Evaluation: benchmarks and metrics, each a function from a model to result rows."""
