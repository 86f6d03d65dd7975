"""Who makes images: one module or folder a builder, and what several of them share."""
