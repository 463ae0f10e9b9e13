"""Files: atomic writes, paths, tensors in and out, what a damaged file costs."""
