"""Nodes that train, wait for a run, and show its progress and results."""
