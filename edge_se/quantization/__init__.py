"""INT8: ranges, targets, placement, and the Q/DQ graphs they make."""
