"""Clary runs Python as managed Amazon SageMaker jobs."""
