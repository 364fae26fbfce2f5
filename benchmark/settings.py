"""What a run is made of: preset, settings of the run, options of the method."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from ..core.config import option, options, to_dict, with_settings
from ..core.errors import UserError, unknown_name
from ..models.adversarial_weight import AUTO_RULE
from ..models.methods import METHODS, TrainingConfig
from ..models.networks.layers import IMAGE_SIZES
from ..training.accelerate import COMPILED, PRECISIONS


@dataclass(frozen=True)
class RunSettings:
    """Settings that do not depend on the method; defaults are the paper's for CIFAR-10 where it gives them."""

    epochs: int = option(200, "passes over the training images", low=1)
    batch_size: int = option(128, "images per step", low=2)
    image_size: int = option(32, "side of the images in pixels: 32, 64 or 128", low=32, high=128)
    augment: Literal["crop-flip", "affine", "none"] = option(
        "crop-flip",
        "random crops (padding 4) and mirroring; or rotation, shift, zoom and mirroring, for faces; or none",
        choices=("crop-flip", "affine", "none"),
    )
    train_images: int = option(0, "training images, a fixed random subset; 0 for all", low=0)
    test_images: int = option(0, "test images, a fixed random subset; 0 for all", low=0)
    labelled_by: str = option(
        "", "a label set: images that it does not label are neither trained on nor scored; '' for all images"
    )
    test_split: Literal["auto", "test", "val"] = option(
        "auto",
        "where scores are taken; auto is val where a manifest has no test images",
        choices=("auto", "test", "val"),
    )
    shuffle: Literal["auto", "full", "blocks"] = option(
        "auto",
        "order of training images: all at random, or by blocks that are read one after another; auto is blocks where "
        "they are larger than half of the memory",
        choices=("auto", "full", "blocks"),
    )
    precision: Literal["fp32", "tf32", "bf16"] = option(
        "fp32",
        "arithmetic of a step: fp32, bf16 (autocast of the networks), or on a GPU tf32",
        choices=PRECISIONS,
    )
    compile_: Literal["no", "yes", "cuda-graphs"] = option(
        "no", "let torch compile the networks, on a GPU also into CUDA graphs", choices=COMPILED
    )
    agreement_images: int = option(10_000, "training images on which agreement is measured each epoch", low=1)


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "epochs": 2,
        "batch_size": 32,
        "augment": "none",
        "train_images": 128,
        "test_images": 64,
        "agreement_images": 64,
        "width": 1 / 16,
        "hidden": 64,
        "learning_rate": 5e-4,
        "label_input": "softmax",
        "start_epoch": 0,
        "pretrain_epochs": 1,
    },
    # two cores, 5 to 40 minutes; docs/results.md has what decided it. No augmentation: with it nothing overfits.
    "small": {
        "epochs": 25,
        "batch_size": 64,
        "augment": "none",
        "train_images": 10_000,
        "test_images": 4_000,
        "agreement_images": 1_000,
        "width": 0.25,
        "initial": "inputs",
        "learning_rate": 5e-4,
        "label_input": "softmax",
        "start_epoch": 4,
        "pretrain_epochs": 6,
    },
    "paper": {},
}
"""Values that differ from the defaults, which are the paper's. An option that a method does not have is left out."""


_LATER = {"start_epoch": "the adversarial part", "pretrain_epochs": "what comes after the pretraining"}
"""Options that say in which epoch a part of a method begins, and what part."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's outcome but the manifest.

    Attributes:
        method: a registered name.
        preset: where the values started from.
        seed: of initial weights, order, augmentation, dropout and latent vectors.
        labels: the label sets to learn from.
        truth: by task, the label set to be scored against.
        device: `cpu` or `cuda`.
        init: SHA-256 of the file that the convolutions start from, empty for random weights.
        settings: of the run.
        options: of the method.
    """

    method: str
    preset: str
    seed: int
    labels: tuple[str, ...]
    truth: Mapping[str, str]
    device: str
    init: str
    settings: RunSettings
    options: TrainingConfig

    def to_json(self) -> dict[str, Any]:
        """All values, nested, as stored in `config.json`."""
        value = {field.name: getattr(self, field.name) for field in fields(self)}
        value |= {"labels": list(self.labels), "truth": dict(self.truth)}
        return value | {"settings": to_dict(self.settings), "options": to_dict(self.options)}


def refuse_empty(values: Mapping[str, Sequence[str]]) -> None:
    """Refuse an option that is to be varied and has no values.

    Raises:
        UserError: naming the first one.
    """
    empty = [name for name, several in values.items() if not several]
    if empty:
        raise UserError(f"The option {empty[0]} has no values; give some, such as {empty[0]}=0.2,0.4, or leave it out.")


def usable_options(method: str) -> set[str]:
    """The public names of the options that a run of this method has."""
    return {*options(RunSettings), *options(METHODS[method].config_class)}


def resolve(method: str, preset: str, changes: Mapping[str, Any]) -> tuple[RunSettings, TrainingConfig]:
    """Settings and method options from a preset and the user's changes.

    Args:
        method: a registered name.
        preset: `smoke`, `small` or `paper`.
        changes: public option name to value or text. Every name must belong to the run or to some method; one that
            this method does not have is left out (a table of several methods may set `lambda`). Of a method with
            rules for λ, `lambda` may be `auto`.

    Raises:
        UserError: an unknown method, preset or option, or a value that is not allowed.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    config_class = METHODS[method].config_class
    of_run, of_method = options(RunSettings), options(config_class)
    anywhere = set[str]().union(*map(usable_options, METHODS))
    for name in changes:
        if name not in anywhere:
            raise unknown_name("option", name, anywhere)
    values = {**PRESETS[preset], **_with_rule(changes, of_method)}
    settings = with_settings(RunSettings(), {name: value for name, value in values.items() if name in of_run})
    chosen = with_settings(config_class(), {name: value for name, value in values.items() if name in of_method})
    if settings.image_size not in IMAGE_SIZES:
        sizes = ", ".join(map(str, IMAGE_SIZES))
        raise UserError(f"image_size is {settings.image_size}; the networks are defined for {sizes} pixels.")
    for name, what in _LATER.items():
        first = getattr(chosen, name, 0)
        if first >= settings.epochs:
            least = of_method[name].metadata["low"]
            shorter = f", or add --set {name}={least}" if least < settings.epochs else ""
            raise UserError(
                f"{name} is {first} and epochs {settings.epochs}: {what} of {method} would never begin. "
                f"Train longer{shorter}."
            )
    return settings, chosen


def _with_rule(changes: Mapping[str, Any], of_method: Container[str]) -> dict[str, Any]:
    """The changes with `lambda=auto` turned into a rule, where the method has rules; one that is named goes first."""
    changed = dict(changes)
    if changed.get("lambda") != "auto" or "lambda_rule" not in of_method:
        return changed
    if changed.get("lambda_rule") == "fixed":
        raise UserError("lambda is 'auto' and lambda_rule 'fixed', which exclude each other; leave one of them out.")
    del changed["lambda"]
    return {"lambda_rule": AUTO_RULE, **changed}
