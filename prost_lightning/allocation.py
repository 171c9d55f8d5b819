"""Which model serves which role, in short.

``360M-135M-135M`` is a team (orchestrator, executor, critic), ``135M`` a single agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prost_lightning.flops import ModelShape
from prost_lightning.trajectory import ROLES, TEAM_ROLES, Agents, Role


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


def shared_allocation(agents: Agents, critic: bool, size: str) -> str:
    """The allocation of episodes in which one model served all roles, whichever of them have an adapter.

    Args:
        agents: Who played.
        critic: Whether a team had a critic.
        size: Size label of the model.
    """
    team = TEAM_ROLES if critic else tuple(role for role in TEAM_ROLES if role != "critic")
    return allocation(dict.fromkeys(("single",) if agents == "single" else team, size))
