"""What leaves the machine when a run is finished: Hugging Face Hub, model card."""
