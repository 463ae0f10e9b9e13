"""The sections of a training configuration, one file each."""
