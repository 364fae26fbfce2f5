"""noisyfer: facial emotion recognition with noisy multi-task annotations."""

__version__ = "0.1.0"
