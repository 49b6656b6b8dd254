"""Ways in which images lie on a disk, one module each: it holds `LAYOUT`, and that is all there is to adding one."""
