"""Searching settings: runs that differ in a few options, compared by the loss of clips that none has trained on."""
