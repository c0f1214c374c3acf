"""Bring a model file into the pod, and let nothing through that must not be loaded."""
