"""A private OMERO, PostgreSQL and RabbitMQ for the demo, tests and benchmarks; not part of the installed fleet."""
