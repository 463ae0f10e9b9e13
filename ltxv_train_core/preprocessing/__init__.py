"""From a list of clips to encoded tensors on disk."""
