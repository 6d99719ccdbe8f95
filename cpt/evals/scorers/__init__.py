"""Asking a model: one file a kind of question, behind `cpt.evals.scorers.torch_scorer.Scorer`."""
