"""Plots of a study, described once: drawn into the report, and kept as SVG and PDF for a paper."""
