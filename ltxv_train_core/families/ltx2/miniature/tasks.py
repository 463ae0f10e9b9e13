"""Names of the demo data sets with sound that are offered. No torch."""

WITH_SOUND = ("stripes_and_beep", "mirror_with_sound")
