"""Training: a short loop over an engine, with schedules, checkpoints and a ledger."""
