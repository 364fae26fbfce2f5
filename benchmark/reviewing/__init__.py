"""Reviewing labels by hand: a local page, a file of decisions, and a label set made of them."""
