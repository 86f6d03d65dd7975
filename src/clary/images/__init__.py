"""From what a person says of an image to an image in a registry: without a Docker engine, and with one."""
