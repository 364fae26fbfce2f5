"""A small drawn world of faces whose true labels are known, for trying the tool; not for science."""
