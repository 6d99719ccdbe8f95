"""Benchmarks that are tasks of lm-eval. Plain lm-eval can run `tasks/` too; `lm_eval_task.py` runs them here."""
