"""Publishing a finished run: upload to the Hugging Face Hub, and the model card."""
