"""A private RabbitMQ node: fetched, relocated, configured, started, and given the fleet's users."""
