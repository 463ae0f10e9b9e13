"""Videos and images in and out of files, and pictures made of them."""
