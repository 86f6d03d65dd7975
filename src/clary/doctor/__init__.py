"""Whether a stack can run: checks that look, say what is wrong and how to mend it, and change nothing."""
