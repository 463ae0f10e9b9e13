"""From media and captions to the batches that training reads."""
