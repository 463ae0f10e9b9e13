"""Measures training steps on a device, over a grid of clips and options, with random weights of true shapes."""
