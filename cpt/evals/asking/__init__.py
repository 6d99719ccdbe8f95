"""Asking a model: one file a kind of question, behind `cpt.evals.scorer.Scorer`."""
