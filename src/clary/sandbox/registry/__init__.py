"""The registry behind ECR: the OCI distribution protocol on the sandbox's own port, and the ECR operations on images.

moto keeps the repositories with their policies and settings; what is pushed into them is kept here, on disk. Images
that are pushed by the protocol are listed by the API, and the other way round.
"""
