"""The page of a run: one HTML file with data, settings, curves, samples, best step and machine, fit to be shared."""
