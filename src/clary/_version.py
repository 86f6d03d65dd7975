"""The version of this package: read by the build, the command line and the runtime's digest."""

__version__ = "0.1.0"
