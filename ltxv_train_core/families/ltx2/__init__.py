"""LTX-2.x: video with sound."""
