"""What the three VGG baselines share."""

from .classifier import ClassifierMethod


class VGG(ClassifierMethod):
    """VGG-16 with a linear head for each task, trained on the cross entropy (paper, Sec. 5).

    L = Σ_tasks mean over the task's label sets of CE(ŷ, ỹ), or of γ·(1 − CCC + w·L_range) for valence and
    arousal (`ClassifierMethod`): with both tasks the paper's multi-task VGGNet, with one task its single-task one.
    """

    paper = "Simonyan & Zisserman, ICLR 2015"
    parallel = True
