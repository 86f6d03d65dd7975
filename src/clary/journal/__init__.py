"""The record of a run: an ordered, fenced log, kept in SQLite on one machine or as objects in a bucket."""
