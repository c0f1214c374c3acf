"""The door to the built-in router: Envoy, configured over the aggregated discovery service."""
