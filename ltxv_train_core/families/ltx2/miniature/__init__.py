"""A small LTX-2.x that comes with the package: it shows and sounds what it is told.

Its scenes, sounds and scores load no torch; `weights`, `audio_vae` and `tone_bank` do.
"""
