"""Carrying out the stages of runs on this machine."""
