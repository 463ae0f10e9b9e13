"""The whole job on the built-in miniature: data, training, samples before and after, scores."""
