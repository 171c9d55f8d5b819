"""The curriculum in pure functions: which sub-tasks may be trained on, and when.

An *item* is what one role said on one sub-task of one trajectory. An *ordering* gives every item a *level* from 1. A
*growth* says at which *stage* an epoch is: at stage ``s`` the levels up to ``s`` are open. The *pool* says which of the
open items an epoch trains on: by default all of them, so that it only ever grows.
"""

from prost_lightning.curriculum.growth import Competence, EpochsPerStage, Growth, StageTable
from prost_lightning.curriculum.items import Item, ItemTable
from prost_lightning.curriculum.mastery import Decision, Mastery, Reason
from prost_lightning.curriculum.orderings import CURRICULA, Curriculum, item_levels
from prost_lightning.curriculum.pool import Pool

__all__ = [
    "CURRICULA",
    "Competence",
    "Curriculum",
    "Decision",
    "EpochsPerStage",
    "Growth",
    "Item",
    "ItemTable",
    "Mastery",
    "Pool",
    "Reason",
    "StageTable",
    "item_levels",
]
