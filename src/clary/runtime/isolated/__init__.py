"""Calls of checkpoints in SageMaker jobs of their own: the side that asks for them, and the side that runs them."""
