"""Images and labels in batches, and scores: what pretraining a teacher and a bench run share."""
