"""Executors: ways of running containers on this machine."""
