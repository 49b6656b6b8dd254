"""Runtimes: one file each behind one small protocol."""
