"""Finished runs as one page: what is found on disk, which runs are one system, what is said of them."""
