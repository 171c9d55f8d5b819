"""Callbacks for Lightning trainers, ours and anybody's: a growing curriculum, AppWorld episodes, and their cost."""

from prost_lightning.callbacks.adapter_export import AdapterExport
from prost_lightning.callbacks.appworld_eval import AppWorldEval
from prost_lightning.callbacks.efficiency_monitor import EfficiencyMonitor
from prost_lightning.callbacks.exact_resume import ExactResume
from prost_lightning.callbacks.item_losses import ItemLosses
from prost_lightning.callbacks.run_summary import RunSummary
from prost_lightning.callbacks.subtask_curriculum import SubtaskCurriculum

__all__ = [
    "AdapterExport",
    "AppWorldEval",
    "EfficiencyMonitor",
    "ExactResume",
    "ItemLosses",
    "RunSummary",
    "SubtaskCurriculum",
]
