"""Mirrors of a study's curves and scores, for people who look at runs in a browser. The truth is on disk."""
