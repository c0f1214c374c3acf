"""Penstock's drift detection side by side with other tools, on the same rows."""
