"""The kubectl-penstock plugin."""
