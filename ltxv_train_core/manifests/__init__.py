"""Lists of clips with captions: read, written, captioned, split, given references."""
