"""Timing, power, conditions, layer profiles and rooflines."""
