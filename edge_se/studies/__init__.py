"""Studies: a grid of nets, recipes and seeds, each cell trained once, compared in pairs by seed."""
