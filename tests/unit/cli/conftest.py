"""The command line of a fresh machine, for every test here."""

from command_line import clary

__all__ = ["clary"]
