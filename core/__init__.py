"""What every part stands on: errors, files, named random streams, registries."""
