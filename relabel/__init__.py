"""Sources, faces, teachers: pretrained models of one dataset label another. Not there yet; see docs/status.md."""
