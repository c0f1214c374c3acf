"""The development cluster: a real Kubernetes on one Linux machine, without Docker or a registry."""
