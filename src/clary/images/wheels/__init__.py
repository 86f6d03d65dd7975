"""Wheels: read without trust, and laid out as an installer would lay them out. Nothing is unpacked on this machine."""
