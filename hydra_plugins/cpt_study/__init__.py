"""Hydra finds the study's sweeper, launcher and sweeps here."""
