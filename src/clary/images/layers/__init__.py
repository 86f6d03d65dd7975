"""From wheels and files to the layers of an image: the same bytes for the same content, wherever they are made."""
