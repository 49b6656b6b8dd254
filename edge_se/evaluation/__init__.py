"""Accuracy, paired statistics and the gate."""
