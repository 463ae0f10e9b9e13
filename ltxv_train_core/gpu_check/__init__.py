"""Runs what a device's driver and libraries may break, with random weights, and says what works."""
