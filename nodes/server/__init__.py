"""Runs for browsers: routes, events, permissions; and the one job manager of this ComfyUI."""
