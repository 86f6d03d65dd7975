"""What source travels: the project of a flow's file, the files that belong to it, one content-addressed archive."""
