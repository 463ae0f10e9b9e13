"""A small LTX-Video that comes with the package and really learns, with its clips and scores.

Importing this package, its clips or its scores loads no torch; `weights`, `vae` and `comfy_file` do.
"""
