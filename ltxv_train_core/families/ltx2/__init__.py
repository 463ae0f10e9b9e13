"""LTX-2.x: video with sound, denoised together."""
