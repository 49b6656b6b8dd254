"""Network definitions and the table of their names."""
