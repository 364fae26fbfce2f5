"""`proposed`: the paper's adversarial joint-distribution model (Zhang et al., WACV 2021)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.config import option
from ...core.errors import UserError
from ..adversarial_weight import (
    LARGEST,
    RULES,
    SMALLEST,
    Balance,
    Controller,
    Step,
    Uncertainty,
    WeightRule,
    differentiated,
)
from ..losses import cross_entropy, discriminator_hinge, generator_adversarial, mean_over_sets, out_of_range, similarity
from ..networks import Decoder, Discriminator, Encoder
from ..networks.encoder import LATENT, Encoding
from ..set_rates import SetRates
from .base import (
    METHODS,
    Batch,
    LabelSetSpec,
    Method,
    Problem,
    Synthesis,
    TrainingConfig,
    TrainingSet,
    Uses,
    images_at_once,
    one_hot,
    unit_images,
)


@dataclass(frozen=True)
class ProposedConfig(TrainingConfig):
    """Options of the adversarial model; defaults are the paper's for CIFAR-10."""

    lambda_: float = option(
        0.8,
        "λ, weight of the adversarial term in the generator's loss, or auto; where it starts with the rules controller "
        "and uncertainty",
        low=0,
    )
    lambda_rule: Literal["fixed", "balance", "controller", "uncertainty"] = option(
        "fixed", "what decides λ: you, or a rule that needs no clean labels", choices=RULES
    )
    balance_ratio: float = option(
        0.05, "the adversarial term's gradient to the prediction's at even odds of wrong labels, for balance", low=0
    )
    discriminator_target: float = option(0.45, "L_D that controller steers to (paper, Sec. C)", above=0)
    gamma: float = option(1.0, "γ, weight of 1 − CCC against the cross entropies", low=0)
    range_weight: float = option(
        1.0, "weight, beside 1 − CCC, of the squared distance of values from [-1, 1]; 0 is the paper's loss", low=0
    )
    start_epoch: int = option(1, "epochs of prediction losses alone before the adversarial part", low=0)
    discriminator_updates: int = option(2, "updates of D before each update of the generator", low=1)
    discriminator_rate: float = option(1.0, "D's learning rate as a multiple of learning_rate", above=0)
    label_input: Literal["raw", "softmax"] = option(
        "raw", "what D sees of the encoder's categorical outputs", choices=("raw", "softmax")
    )
    weight_image: float = option(1.0, "weight of the score S_x", low=0)
    weight_latent: float = option(1.0, "weight of the score S_y0", low=0)
    weight_labels: float = option(1.0, "weight of the scores S_y1 … S_yT", low=0)
    weight_joint: float = option(1.0, "weight of the score S_joint", low=0)

    def __post_init__(self) -> None:
        if self.lambda_rule in ("controller", "uncertainty") and not SMALLEST <= self.lambda_ <= LARGEST:
            raise UserError(
                f"lambda is {self.lambda_:g}, from which {self.lambda_rule} cannot start; its λ is {SMALLEST:g} to "
                f"{LARGEST:g}."
            )


@METHODS.register("proposed")
class Proposed(Method):
    """Encoder, decoder and discriminator in the game of eq. 9: D twice, then encoder and decoder once, per batch.

    L_D = mean(relu(1 − s_enc)) + mean(relu(1 + s_dec))
    L_G = Σ_sets CE(ŷ_t, ỹ_t) + γ·(L_sim + w·L_range) + λ·(mean(s_enc) − mean(s_dec))

    with s_enc = D(x, y0, ŷ) and s_dec = D(x̃, ỹ0, ỹ), each B×(T+3) and each score times its weight. L_range
    (`losses.out_of_range`, w = `range_weight`) is ours: it is 0 for values within [-1, 1]. One forward of encoder and
    decoder serves all three updates; real and generated samples pass D as one batch.

    Where a sample lacks a label, zeros stand for it on both sides (in ỹ, which the decoder and D see, and in ŷ as D
    sees it), so that nothing but the labels that are there tells the sides apart; its marginal score is left out of
    the means, and its prediction loss is not counted.

    With a `lambda_rule` other than `fixed` λ changes from step to step and is recorded (`models.adversarial_weight`).
    """

    uses = Uses(continuous=True)
    paper = "Zhang, Huang, Paudel & Van Gool, WACV 2021"
    config_class = ProposedConfig
    config: ProposedConfig
    parallel = True

    def __init__(self, problem: Problem, config: ProposedConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.sets = problem.label_sets
        widths = tuple(label_set.width for label_set in self.sets)
        self.encoder = self._place(Encoder(self._trunk(), widths))
        self.generator: dict[str, nn.Module] = {"encoder": self.encoder}
        decoder = self._drawing_network()
        if decoder is not None:
            self.generator["decoder"] = self.decoder = self._place(decoder)
        self.discriminator = self._place(Discriminator(problem.image_size, widths, config.width))
        self.networks = {**self.generator, "discriminator": self.discriminator}
        self.generator_optimizer = self._adam(*self.generator.values())
        self.discriminator_optimizer = self._adam(self.discriminator, rate=config.discriminator_rate)
        self.optimizers = {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}
        weights = [
            config.weight_image,
            config.weight_latent,
            *[config.weight_labels] * len(widths),
            config.weight_joint,
        ]
        self.score_weights = torch.tensor(weights, device=device)
        self.adversarial = config.start_epoch == 0
        self.rule = self._weight_rule()
        self.training: TrainingSet | None = None

    def prepare(self, training: TrainingSet) -> None:
        """Where λ hangs on the noise, find out what the label sets' agreement tells of it."""
        if isinstance(self.rule, Balance):
            self.training = training
            self.rule.rates.compare(training)

    def start_epoch(self, epoch: int) -> None:
        """Switch the adversarial part on from epoch `start_epoch`, counted from 0."""
        self.adversarial = epoch >= self.config.start_epoch
        if isinstance(self.rule, Balance):
            self.rule.rates.start_epoch(epoch, self._training_losses)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One iteration of Algorithm 1: D `discriminator_updates` times, then encoder and decoder together."""
        for network in self.networks.values():
            network.train()
        self.generator_optimizer.zero_grad()  # before anything is computed, so that old gradients hold no memory
        images = unit_images(batch.images)
        encoding = self.encoder(images)
        whole = self._whole(batch)
        prediction, scalars = self._prediction_loss(encoding, whole)
        if not self.adversarial:
            self._step_generator(prediction)
            return {"loss": prediction.detach(), **scalars}

        noise = self.peers.own(torch.randn(2, len(images) * self.peers.size, LATENT, device=self.device), dim=1)
        latents = torch.cat([encoding.sample(noise[0]), noise[1]])
        given = self._label_inputs(batch)
        pictures = torch.cat([images, self._second_images(images, noise[1], given)])
        labels = tuple(
            torch.cat([self._predicted_input(output, label_set, batch), label])
            for output, label_set, label in zip(encoding.outputs, self.sets, given, strict=True)
        )
        present = self._present(whole)

        for _ in range(self.config.discriminator_updates):
            discriminator_loss = self._update_discriminator(pictures, latents, labels, present)

        self.discriminator.requires_grad_(False)
        adversarial = self._adversarial_loss(pictures, latents, labels, present)
        weight, told = self._weight(encoding, prediction, adversarial, discriminator_loss)
        loss = prediction + weight * adversarial
        self._step_generator(loss)
        self.discriminator.requires_grad_(True)
        scalars |= {"adversarial_generator": adversarial.detach(), "adversarial_discriminator": discriminator_loss}
        return {"loss": loss.detach(), **scalars, **told}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Per task the mean over its label sets: of the softmaxes B×K, or of valence and arousal B×2."""
        return self.predict_with_sets(images)[0]

    @torch.inference_mode()
    def predict_with_sets(self, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Both predictions from one pass of the encoder."""
        self.encoder.eval()
        by_task: dict[str, list[Tensor]] = {}
        by_set: dict[str, Tensor] = {}
        for output, label_set in zip(self.encoder(unit_images(images)).outputs, self.sets, strict=True):
            prediction = output if label_set.continuous else torch.softmax(output, dim=1)
            by_task.setdefault(label_set.task, []).append(prediction)
            by_set[label_set.name] = prediction
        return {task: torch.stack(predictions).mean(dim=0) for task, predictions in by_task.items()}, by_set

    @property
    def predicting(self) -> dict[str, nn.Module]:
        """The encoder."""
        return {"encoder": self.encoder}

    @torch.inference_mode()
    def synthesise(self, rows: int, generator: torch.Generator) -> Synthesis | None:
        """Draw images with the class as column (paper, Fig. 4): all sets of the task say the same class.

        Args:
            rows: latent vectors, each drawn under every class.
            generator: a CPU generator for the latent vectors.

        Returns:
            None where no set is categorical. Continuous sets are drawn at 0.
        """
        task = next((label_set.task for label_set in self.sets if not label_set.continuous), None)
        if task is None:
            return None
        classes = next(label_set.width for label_set in self.sets if label_set.task == task)
        latent = torch.randn(rows, LATENT, generator=generator).to(self.device).repeat_interleave(classes, dim=0)
        column = torch.arange(classes, device=self.device).repeat(rows)
        labels = tuple(
            functional.one_hot(column, classes).float()
            if label_set.task == task
            else torch.zeros(len(column), label_set.width, device=self.device)
            for label_set in self.sets
        )
        self.decoder.eval()
        images = self.decoder(latent, labels)
        return Synthesis(images.unflatten(0, (rows, classes)), task)

    def state_dict(self) -> dict[str, Any]:
        """Networks and optimizers, and the numbers of a rule that decides λ."""
        return super().state_dict() | ({} if self.rule is None else {"rule": self.rule.state_dict()})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back what `state_dict` returned."""
        super().load_state_dict(state)
        if self.rule is not None:
            self.rule.load_state_dict(state["rule"])

    def _drawing_network(self) -> nn.Module | None:
        """What draws D's second images; None where nothing does."""
        widths = tuple(label_set.width for label_set in self.sets)
        return Decoder(self.problem.image_size, widths, self.config.width)

    def _second_images(self, images: Tensor, latent: Tensor, given: tuple[Tensor, ...]) -> Tensor:
        """x̃, the images of D's second side: drawn from noise B×100 and the noisy labels."""
        drawn: Tensor = self.decoder(latent, given)
        return drawn

    def _prediction_loss(self, encoding: Encoding, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """f of eq. 10: the sum of the cross entropies plus γ times the sum of 1 − CCC and of what is out of range; and
        each as a mean to show.
        """
        losses: dict[str, list[Tensor]] = {}
        masks: dict[str, list[Tensor]] = {}
        for output, label_set in zip(encoding.outputs, self.sets, strict=True):
            whole, labels, mask = self.peers.gather(output), batch.labels[label_set.name], batch.masks[label_set.name]
            if label_set.continuous:
                apart = similarity(whole, labels, mask) * mask.any()  # 1 − CCC of no label is 1
                found = {"similarity": apart, "out_of_range": out_of_range(whole, mask)}
            else:
                found = {"cross_entropy": cross_entropy(whole, labels, mask)}
            for name, loss in found.items():
                losses.setdefault(name, []).append(loss)
                masks.setdefault(name, []).append(mask)
        gamma = self.config.gamma
        weights = {"cross_entropy": 1.0, "similarity": gamma, "out_of_range": gamma * self.config.range_weight}
        total = torch.zeros((), device=self.device)
        for name, each in losses.items():
            total = total + weights[name] * torch.stack(each).sum()
        return total, {name: mean_over_sets(each, masks[name]).detach() for name, each in losses.items()}

    def _adversarial_loss(
        self, pictures: Tensor, latents: Tensor, labels: tuple[Tensor, ...], present: Tensor
    ) -> Tensor:
        """The term that λ weighs; where its slope is asked for before the step, D is differentiated here, once."""

        def term(pictures: Tensor, latents: Tensor, *labels: Tensor) -> Tensor:
            return generator_adversarial(*self._scores(pictures, latents, labels, len(pictures) // 2), present)

        if self.rule is not None and self.rule.compares_slopes:
            return differentiated(term, (pictures, latents, *labels))
        return term(pictures, latents, *labels)

    def _weight_rule(self) -> WeightRule | None:
        """What decides λ; None where it is a number."""
        config, device = self.config, self.device
        if config.lambda_rule == "balance":
            return Balance(config.balance_ratio, SetRates(self.sets, config.start_epoch), device)
        if config.lambda_rule == "controller":
            # a score of weight 0 leaves relu(1 − 0) + relu(1 + 0) = 2 in L_D, which is a mean over scores
            silent = float((self.score_weights == 0).float().mean())
            return Controller(config.lambda_, (1 - silent) * config.discriminator_target + 2 * silent, device)
        return Uncertainty(config.lambda_, device) if config.lambda_rule == "uncertainty" else None

    def _weight(
        self, encoding: Encoding, prediction: Tensor, adversarial: Tensor, discriminator_loss: Tensor
    ) -> tuple[float | Tensor, dict[str, Tensor]]:
        """λ of a step, and what there is to tell of it."""
        if self.rule is None:
            return self.config.lambda_, {}
        slopes = self._slopes(encoding, prediction, adversarial) if self.rule.compares_slopes else None
        weight = self.rule.weight(Step(prediction.detach(), adversarial.detach(), discriminator_loss, slopes))
        return weight, {
            "lambda": weight,
            **{name: torch.full_like(weight, value) for name, value in self.rule.told().items()},
        }

    def _slopes(self, encoding: Encoding, *losses: Tensor) -> Tensor:
        """‖∂L/∂h‖ of each loss over the features h of the whole batch, of which each process has its rows."""
        found = [self.encoder.feature_slope(loss, encoding) for loss in losses]
        squares = torch.stack([slope.to(losses[0].dtype).square().sum() for slope in found])
        return self.peers.gather(squares[None]).sum(dim=0).sqrt()

    @torch.inference_mode()
    def _training_losses(self, names: Iterable[str]) -> dict[str, tuple[Tensor, Tensor]]:
        """Of the named sets the cross entropies of all training samples that they label, by their own heads, and the
        labels."""
        if self.training is None:
            raise RuntimeError("prepare must be called before training")
        self.encoder.eval()
        found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in names}
        for batch in self.training.in_order(images_at_once(self.problem.image_size)):
            outputs = self.encoder(unit_images(batch.images)).outputs
            for output, label_set in zip(outputs, self.sets, strict=True):
                name = label_set.name
                if name in found:
                    labels, mask = batch.labels[name], batch.masks[name]
                    losses = functional.cross_entropy(output.float(), labels, reduction="none")
                    found[name].append((losses[mask], labels[mask]))
        return {
            name: (torch.cat([each for each, _ in pairs]), torch.cat([each for _, each in pairs]))
            for name, pairs in found.items()
        }

    def _label_inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """ỹ as the decoder and D see it, B×K or B×2 a set; zeros where a label is missing."""
        given = (
            batch.labels[label_set.name]
            if label_set.continuous
            else one_hot(batch.labels[label_set.name], label_set.width)
            for label_set in self.sets
        )
        return tuple(
            label * batch.masks[label_set.name][:, None] for label, label_set in zip(given, self.sets, strict=True)
        )

    def _predicted_input(self, output: Tensor, label_set: LabelSetSpec, batch: Batch) -> Tensor:
        """ŷ of one set as D sees it; zeros where its label is missing."""
        softened = not label_set.continuous and self.config.label_input == "softmax"
        shown = torch.softmax(output, dim=1) if softened else output
        return shown * batch.masks[label_set.name][:, None]

    def _present(self, batch: Batch) -> Tensor:
        """The scores that count, bool B×(T+3): S_x, S_y0 and S_joint always, S_yt where there is a label."""
        masks = [batch.masks[label_set.name] for label_set in self.sets]
        always = torch.ones_like(masks[0])
        return torch.stack([always, always, *masks, always], dim=1)

    def _scores(
        self, pictures: Tensor, latents: Tensor, labels: tuple[Tensor, ...], constant: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Weighted scores of the encoder's half and the decoder's half of a 2B batch, all processes', each B×(T+3)."""
        scores = self.discriminator(pictures, latents, labels, constant=constant) * self.score_weights
        encoder_scores, decoder_scores = map(self.peers.gather, scores.chunk(2))
        return encoder_scores, decoder_scores

    def _update_discriminator(
        self, pictures: Tensor, latents: Tensor, labels: tuple[Tensor, ...], present: Tensor
    ) -> Tensor:
        fixed = tuple(label.detach() for label in labels)
        self.discriminator_optimizer.zero_grad()
        loss = discriminator_hinge(*self._scores(pictures.detach(), latents.detach(), fixed), present)
        loss.backward()
        self.peers.add_gradients(self.discriminator.parameters())
        self.discriminator_optimizer.step()
        return loss.detach()

    def _step_generator(self, loss: Tensor) -> None:
        loss.backward()
        for network in self.generator.values():
            self.peers.add_gradients(network.parameters())
        self.generator_optimizer.step()
