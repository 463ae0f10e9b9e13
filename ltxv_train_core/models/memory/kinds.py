"""The kinds of quantization. No torch."""

EIGHT_BIT_KINDS = ("int8-quanto", "fp8-quanto", "fp8uz-quanto")
"""Named after the library that LTX-Video-Trainer quantizes with; the numbers are the same."""
FOUR_BITS = "int4-quanto"
PACKED_BITS = {FOUR_BITS: 4, "int2-quanto": 2}
NORMAL_FLOAT = "nf4"
BITS = dict.fromkeys(EIGHT_BIT_KINDS, 8) | PACKED_BITS | {NORMAL_FLOAT: 4}
"""Of each weight; the scales come on top."""
GROUP_COLUMNS = 128
"""Weights of a row that have a scale of their own, where they are packed."""
SCALE_BITS = dict.fromkeys(PACKED_BITS, 2 * 16 / GROUP_COLUMNS) | {
    NORMAL_FLOAT: 8 / 64 + 32 / (64 * 256)
}
"""What scales add to each weight where that matters: two bfloat16 numbers for a group; with nf4 8 bits for
each 64 weights, and a float32 number for 256 of those."""
