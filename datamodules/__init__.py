"""From trajectory files to packed batches of the active pool."""

from prost_lightning.datamodules.preparation import OracleTrajectories
from prost_lightning.datamodules.sampler import SubtaskCurriculumSampler
from prost_lightning.datamodules.subtask_datamodule import SubtaskDataModule

__all__ = ["OracleTrajectories", "SubtaskCurriculumSampler", "SubtaskDataModule"]
