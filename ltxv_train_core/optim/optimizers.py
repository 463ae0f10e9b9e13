import torch

from ..config import OptimizationConfig


def build_optimizer(
    config: OptimizationConfig, parameters: list[torch.nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer of a run, with torch's usual betas and weight decay 0.01."""
    assert config.optimizer_type == "adamw", config.optimizer_type
    return torch.optim.AdamW(parameters, lr=config.learning_rate)
