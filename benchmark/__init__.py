"""Noise, training, scores: from clean labels to a table of methods."""
