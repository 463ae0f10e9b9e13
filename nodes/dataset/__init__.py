"""Nodes that prepare a data set, from media files and from what is on the canvas."""
