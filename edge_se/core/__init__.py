"""What every other package may import: errors, files, artifacts, recipes, assets, environment."""
