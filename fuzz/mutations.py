"""Thirty kinds of hostile pictures, each a function of a random stream: the same seed gives the same bytes."""

from __future__ import annotations

# their order decides the seeds
import damaged_anywhere
import damaged_formats
from mutation_kinds import KINDS, mutated

__all__ = ["KINDS", "damaged_anywhere", "damaged_formats", "mutated"]
