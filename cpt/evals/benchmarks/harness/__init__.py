"""Benchmarks that are tasks of lm-eval. `tasks/` is for plain lm-eval; `benchmark.py` puts its tasks to our models."""
