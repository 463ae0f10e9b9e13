"""Whether a run has learned the sound of its clips: distances, pitch and loudness, a picture and a sentence."""
