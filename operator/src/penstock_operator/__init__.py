"""The Penstock operator."""
