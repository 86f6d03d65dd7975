"""The registry client: images in and out of any registry that speaks the protocol of Docker and OCI."""
