"""Preparing the data of a study and of a run."""
