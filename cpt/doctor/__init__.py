"""Preflight: what is wrong with a machine, or with a cluster's nodes, before a study finds out."""
