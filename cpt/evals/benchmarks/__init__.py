"""Benchmarks: what is asked, one file each."""
