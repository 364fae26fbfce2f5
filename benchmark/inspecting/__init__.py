"""The audit of a manifest's labels: agreement, estimated noise, the most suspicious samples."""
