"""Noise, training and scores: make-cifar and bench."""
