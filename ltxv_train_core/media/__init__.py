"""Reads and writes videos and images, and draws contact sheets."""
