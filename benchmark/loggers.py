"""Where a run's figures go besides its folder: TensorBoard, MLflow, Weights & Biases, behind one interface."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ..core.errors import UserError, first_line, look_up
from ..core.files import read_json, write_failure, write_json

DEFAULT_LOGGERS = ("tensorboard",)
PROJECT = "noisyfer"
"""The experiment of MLflow and the project of Weights & Biases where the environment names none."""


class Logger(Protocol):
    """Takes the figures of a run, epoch by epoch; an interrupted run goes on where its figures were."""

    def __init__(self, folder: Path, epochs_done: int, options: Mapping[str, Any]) -> None: ...

    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Add an epoch's figures by their names, such as `test/class/accuracy`."""

    def close(self) -> None:
        """Nothing more will come."""


class TensorBoard:
    """Event files in the run's folder; figures after a resumed epoch replace those of the interrupted process."""

    def __init__(self, folder: Path, epochs_done: int, options: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=epochs_done + 1)

    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def close(self) -> None:
        """See `Logger`."""
        self.writer.close()


class MLflow:
    """A run of MLflow: at MLFLOW_TRACKING_URI, without it in `mlflow.db` beside the run folders."""

    def __init__(self, folder: Path, epochs_done: int, options: Mapping[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder.parent / 'mlflow.db').resolve()}"
        self.client = MlflowClient(tracking_uri=place)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        remembered = folder / "mlflow.json"
        stored = read_json(remembered) if remembered.exists() else {}
        if stored.get("place") == place:
            self.run: str = stored["run"]
            self.client.update_run(self.run, status="RUNNING")
            return
        experiment = self.client.get_experiment_by_name(name)
        identity = experiment.experiment_id if experiment is not None else self.client.create_experiment(name)
        self.run = self.client.create_run(identity, run_name=folder.name).info.run_id
        for key, value in options.items():
            self.client.log_param(self.run, key, value)
        write_json(remembered, {"place": place, "run": self.run})

    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        for name, value in figures.items():
            self.client.log_metric(self.run, name, value, step=epoch)

    def close(self) -> None:
        """See `Logger`."""
        self.client.set_terminated(self.run)


class WeightsAndBiases:
    """A run of Weights & Biases: offline in the run's folder (`wandb sync` sends it), unless WANDB_MODE says more."""

    def __init__(self, folder: Path, epochs_done: int, options: Mapping[str, Any]) -> None:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(folder),
            id=folder.name,
            name=folder.name,
            resume="allow",
            mode=mode,
            config=dict(options),
            settings=wandb.Settings(console="off", silent=True),
        )

    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        self.run.log({**figures, "epoch": epoch}, step=epoch)

    def close(self) -> None:
        """See `Logger`."""
        self.run.finish()


LOGGERS: dict[str, tuple[type[Logger], str]] = {
    "tensorboard": (TensorBoard, "torch"),
    "mlflow": (MLflow, "mlflow"),
    "wandb": (WeightsAndBiases, "wandb"),
}
"""By name the logger and the module that must be installed."""


def check_loggers(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        UserError: an unknown name, or one whose package is not installed.
    """
    for name in names:
        _, module = look_up("logger", name, LOGGERS)
        if find_spec(module) is None:
            raise UserError(f"The logger {name} needs a package that is not installed: pip install {module}.")
    return tuple(dict.fromkeys(names))


class Loggers:
    """The loggers of a run, as a context that closes them.

    Args:
        names: checked ones.
        folder: the run's.
        epochs_done: epochs whose figures an earlier process has added.
        options: the run's, for loggers that show them.
    """

    def __init__(self, names: Sequence[str], folder: Path, epochs_done: int, options: Mapping[str, Any]) -> None:
        self.folder = folder
        self.opened: dict[str, Logger] = {}
        with ExitStack() as stack:  # if one cannot begin, those before it are closed
            for name in names:
                with self._writing(name):
                    self.opened[name] = LOGGERS[name][0](folder, epochs_done, options)
                stack.callback(self._close, name)
            self.stack = stack.pop_all()

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _close(self, name: str) -> None:
        with self._writing(name):
            self.opened[name].close()

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_failure(self.folder, error) from error
        except Exception as error:
            if name == "tensorboard":
                raise
            raise UserError(
                f"{name} cannot take the run's figures ({first_line(error)}). The run goes on from its last epoch, "
                "with or without --logger."
            ) from error

    def add(self, row: Mapping[str, Any]) -> None:
        """Add an epoch's row of `metrics.jsonl`."""
        figures = _figures(row)
        for name, logger in self.opened.items():
            with self._writing(name):
                logger.add(row["epoch"], figures)


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    found = {f"{group}/{name}": value for group in ("losses", "agreement") for name, value in row[group].items()}
    for task, scores in row["test"].items():
        found |= {f"test/{task}/{name}": value for name, value in scores.items()}
    return found
