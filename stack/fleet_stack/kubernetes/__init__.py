"""A private Kubernetes: a real API server with its controllers, and nodes that only pretend to run pods."""
