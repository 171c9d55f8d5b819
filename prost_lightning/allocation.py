"""Which model serves which role, in short.

``360M-135M-135M`` is a team (orchestrator, executor, critic), ``135M`` a single agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prost_lightning.flops import ModelShape
from prost_lightning.trajectory import ROLES, Role


def size_label(config: Any) -> str:
    """Size of a dense decoder by all its weights (biases, where it has some, do not show).

    Args:
        config: Its ``transformers`` config.

    Returns:
        As ``135M`` or ``7.6B``.
    """
    shape = ModelShape.from_config(config)
    embeddings = 1 if config.get_text_config().tie_word_embeddings else 2
    norms = (2 * shape.layers + 1) * shape.hidden_size
    parameters = shape.linear_parameters + embeddings * shape.head_parameters + norms
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M"


def allocation(sizes: Mapping[Role, str]) -> str:
    """Joins the sizes that serve the roles: orchestrator, executor, critic, then the single agent, where there is one.

    Args:
        sizes: Size label of each role's model.
    """
    return "-".join(sizes[role] for role in ROLES if role in sizes)
