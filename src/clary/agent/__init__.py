"""The part that moves runs forward and holds AWS credentials."""
