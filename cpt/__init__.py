"""Continual pretraining of language models as a factorial study."""
