"""The local stack: a private RabbitMQ, the server and a fleet of workers on this machine."""
