"""The adversarial model and its baselines; nothing here knows of files, manifests or commands."""
