"""Where the parts of a model come from: folders, files, the Hugging Face Hub."""
