"""Targets: what the INT8 file for each runtime must look like, why, and what runs it; one file a target."""
