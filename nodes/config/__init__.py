"""Nodes that describe a training run: one for each section, YAML files, and the whole."""
