"""LTX-Video 0.9.x: its files, parts, key names, positions and miniature."""
