"""The door to the Gateway API."""
