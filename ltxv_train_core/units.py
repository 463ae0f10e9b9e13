"""How durations and bytes are written, everywhere alike. `nodes/web/units.js` writes the same."""

GIB = 2**30

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_WHOLE_FROM = 100


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 0:00:42, 3:00:00."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def byte_size(count: float) -> str:
    """Bytes with the largest unit that fits: 512 B, 5.9 GiB, 24 GiB."""
    power = 0
    while count >= 1024 and power < len(_UNITS) - 1:
        count, power = count / 1024, power + 1
    digits = 1 if power and count < _WHOLE_FROM else 0
    return f"{count:.{digits}f}".removesuffix(".0") + f" {_UNITS[power]}"
