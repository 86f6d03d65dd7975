"""Configuration: the options of runs from every source, which of them wins, and where each value comes from."""
