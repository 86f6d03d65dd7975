"""Stacks: named places to run."""
