"""LTX-Video's tensors under two sets of names: diffusers' and the original single file's, which
ComfyUI reads. No torch: names, shapes and configurations are data.
"""
