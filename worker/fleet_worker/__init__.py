"""Takes requests from RabbitMQ and imports them into OMERO."""
