"""From what a project requires to verified wheels, for a Python and a platform that need not be on this machine."""
