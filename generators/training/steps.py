"""One step of the critic and one of the generator."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from generators.networks.conditioning import unit_interval
from generators.networks.dcwgan import Generated, Judged
from generators.networks.lattice import lattice_floor, lattice_loss
from generators.networks.losses import LOSSES, PENALTIES, Penalty
from generators.networks.settings import NetworkSettings
from generators.training.appearance import Appearance
from generators.training.dataset import Batch, StructureDataset
from generators.training.optimisers import ExtraAdam, descend
from generators.training.prepared_terms import PreparedTerm
from generators.training.processes import Processes
from generators.training.schedules import grown, ramp
from generators.training.settings import TrainingSettings
from generators.training.state import TrainingState
from generators.training.terms import TERMS, GeneratorBatch

Metrics = dict[str, Tensor]


class Steps:
    """The steps of a training; everything that changes is in its state.

    Parameters
    ----------
    networks : NetworkSettings
    settings : TrainingSettings
    state : TrainingState
    dataset : StructureDataset
    appearance : Appearance
    processes : Processes
    prepared : mapping of str to PreparedTerm
        Those of the further terms that are more than a function of a batch.
    """

    def __init__(
        self,
        networks: NetworkSettings,
        settings: TrainingSettings,
        state: TrainingState,
        dataset: StructureDataset,
        appearance: Appearance,
        processes: Processes,
        prepared: Mapping[str, PreparedTerm],
    ) -> None:
        self.networks, self.settings, self.state = networks, settings, state
        self.dataset, self.appearance, self.processes = dataset, appearance, processes
        self.prepared = prepared
        self.loss = LOSSES[settings.loss]
        own = self.loss.penalty
        self.penalty: Penalty | None = own if settings.penalty is None else PENALTIES[settings.penalty]
        objective: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]] = self._adversarial
        self._objective = torch.compile(objective, fullgraph=True) if settings.compiled else objective

    def train(self) -> dict[str, float]:
        """All critic steps and the generator's, twice with extragradient; metrics as means over the processes."""
        state, metrics = self.state, dict[str, Tensor]()
        state.begin_step()
        passes = 2 if isinstance(state.generator_optimiser, ExtraAdam) else 1
        for attempt in range(passes):
            pretraining = self.settings.critic_pretraining if state.step == 0 and attempt == 0 else 0
            for _ in range(pretraining * passes + self.settings.critic_steps):
                metrics |= self.critic_step()
            metrics |= self._generator_step()
        state.average()
        return self.processes.averaged(metrics)

    def _batch(self) -> Batch:
        reach = 1.0 if self.settings.curriculum_steps == 0 else ramp(self.state.step, 0, self.settings.curriculum_steps)
        size = self.batch_size
        return self.dataset.batch(size, self.state.random, reach, self.processes.share(size))

    @property
    def batch_size(self) -> int:
        """Of the present step, over all processes."""
        return grown(self.settings.batch_size, self.settings.batch_doublings, self.state.step)

    def _noise(self) -> Tensor:
        size, settings = self.batch_size, self.settings
        shape = (size, self.networks.latent)
        noise = torch.randn(shape, generator=self.state.random, device=settings.device)[self.processes.share(size)]
        fading = 1.0 - ramp(self.state.step, 0, settings.latent_noise_steps)
        return noise * (1.0 + settings.latent_noise * fading) if settings.latent_noise * fading > 0.0 else noise

    def _precision(self) -> torch.autocast:
        device = torch.device(self.settings.device).type
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self.settings.precision == "bf16")

    def _generate(self, noise: Tensor, conditions: Tensor) -> Generated:
        with self._precision():
            made = self.state.generator.generate(noise, conditions)
        return Generated(made.grids.float(), None if made.lattice is None else made.lattice.float())

    def _seen(self, grids: Tensor) -> Tensor:
        return self.appearance(grids, self.state.step)

    def _judge(self, grids: Tensor, conditions: Tensor) -> Judged:
        with self._precision():
            judged = self.state.critic.judge(grids, conditions)
        return Judged(
            judged.scores.float(),
            judged.features.float(),
            None if judged.lattice is None else judged.lattice.float(),
            tuple(told.float() for told in judged.conditions),
            None if judged.information is None else judged.information.float(),
        )

    def _adversarial(
        self, real: Tensor, fake: Tensor, conditions: Tensor, told: Tensor, factor: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Loss of the critic with its penalty where `factor` is given; the penalty; mean real and fake scores."""
        real_scores = self._judge(real, conditions).scores
        fake_scores = self._judge(fake, told).scores
        loss = self.loss.critic(real_scores, fake_scores)
        penalty = loss.new_zeros(())
        if factor is not None and self.penalty is not None:

            def score(grids: Tensor) -> Tensor:
                return self._judge(grids, conditions).scores

            penalty = self.penalty(score, real, fake, factor, self.state.random)
            loss = loss + self.settings.penalty_weight * self.settings.penalty_every * penalty
        return loss, penalty, real_scores, fake_scores

    def critic_step(self) -> Metrics:
        """Take one step of the critic."""
        state, settings = self.state, self.settings
        state.critic.requires_grad_(True)
        batch, noise = self._batch(), self._noise()
        with torch.no_grad():
            made = self._generate(noise, batch.conditions).grids
        fake, told = state.replay.mixed(made, batch.conditions)
        real, fake = self._seen(batch.grids), self._seen(fake)
        with_penalty = self.penalty is not None and state.critic_steps_done % settings.penalty_every == 0
        factor = self._interpolation(len(real)) if with_penalty else None
        loss, penalty, real_scores, fake_scores = self._objective(real, fake, batch.conditions, told, factor)
        heads, metrics = self._critic_heads(batch, real, made, noise)
        norm = self._descend(loss + heads, state.critic, state.critic_optimiser)
        state.critic_steps_done += 1
        self.appearance.adapt(real_scores, fake_scores)
        if self.loss.clip is not None:
            with torch.no_grad():
                for parameter in state.critic.parameters():
                    parameter.clamp_(-self.loss.clip, self.loss.clip)
        metrics |= {"critic_loss": loss, "wasserstein": real_scores.mean() - fake_scores.mean()}
        metrics |= {"critic_spread": real_scores.std(unbiased=False), "critic_gradient": norm}
        return metrics | ({"penalty": penalty} if with_penalty else {})

    def _descend(self, loss: Tensor, network: nn.Module, optimiser: torch.optim.Optimizer) -> Tensor:
        return descend(loss, network, optimiser, self.processes, self.settings.gradient_clip)

    def _interpolation(self, n: int) -> Tensor:
        """Places (n,) between generated and real samples."""
        state, settings = self.state, self.settings
        if settings.penalty_interpolation == "epoch":
            epoch = state.critic_steps_done * self.batch_size // len(self.dataset)
            generator = torch.Generator(settings.device).manual_seed(epoch)
            return torch.rand(1, generator=generator, device=settings.device).expand(n)
        whole = torch.rand(self.batch_size, generator=state.random, device=settings.device)
        return whole[self.processes.share(self.batch_size)]

    def _critic_heads(self, batch: Batch, real: Tensor, made: Tensor, noise: Tensor) -> tuple[Tensor, Metrics]:
        """Losses of the critic's heads: what they are to infer is known of real grids, the noise of generated ones."""
        settings, networks = self.settings, self.networks
        total, metrics = real.new_zeros(()), dict[str, Tensor]()
        if networks.lattice or networks.condition_head:
            judged = self._judge(real, batch.conditions)
            if judged.lattice is not None:
                loss = lattice_loss(judged.lattice, batch.lattice)
                metrics["critic_lattice"] = loss - lattice_floor(batch.lattice)
                total = total + settings.lattice_weight * loss
            if judged.conditions:
                metrics["critic_condition"] = self._condition_loss(judged, batch.conditions)
                total = total + settings.condition_weight * metrics["critic_condition"]
        if networks.information:
            read = self._judge(self._seen(made), batch.conditions).information
            assert read is not None
            metrics["critic_information"] = functional.mse_loss(read, noise[:, : networks.information])
            total = total + settings.information_weight * metrics["critic_information"]
        return total, metrics

    def _condition_loss(self, judged: Judged, conditions: Tensor) -> Tensor:
        losses = []
        for column, (spec, logits) in enumerate(zip(self.networks.conditions, judged.conditions, strict=True)):
            values = conditions[:, column]
            if spec.kind == "class":
                losses.append(functional.cross_entropy(logits, values.long()))
            else:
                losses.append(functional.mse_loss(logits[:, 0], unit_interval(values, spec)))
        return torch.stack(losses).sum()

    def _generator_step(self) -> Metrics:
        state = self.state
        with _looking_ahead(self, self.settings.unrolled_steps):
            state.critic.requires_grad_(False)  # its weights need no gradient while the generator learns
            batch = self._batch() if self._needs_real else None
            conditions = self._conditions() if batch is None else batch.conditions
            noise = self._noise()
            made = self._generate(noise, conditions)
            judged = self._judge(self._seen(made.grids), conditions)
            real_scores = None
            if self.loss.relative and batch is not None:
                real_scores = self._judge(self._seen(batch.grids), conditions).scores
            loss = self.loss.generator(judged.scores, real_scores)
            further, metrics = self._generator_terms(batch, conditions, noise, made, judged)
            norm = self._descend(loss + further, state.generator, state.generator_optimiser)
        return metrics | {"generator_loss": loss, "generator_gradient": norm}

    @property
    def _needs_real(self) -> bool:
        asked = any(term.needs_real for term in self.prepared.values())
        return asked or self.loss.relative or "feature_matching" in self.settings.terms

    def _conditions(self) -> Tensor:
        size = self.batch_size
        return self.dataset.conditions[self.dataset.draw(size, self.state.random)][self.processes.share(size)]

    def _generator_terms(
        self, batch: Batch | None, conditions: Tensor, noise: Tensor, made: Generated, judged: Judged
    ) -> tuple[Tensor, Metrics]:
        settings, total = self.settings, made.grids.new_zeros(())
        metrics: Metrics = {}
        if made.lattice is not None and judged.lattice is not None:
            inferred = torch.sigmoid(judged.lattice).detach()
            loss = lattice_loss(made.lattice, inferred)
            metrics["generator_lattice"] = loss - lattice_floor(inferred)
            total = total + settings.lattice_weight * loss
        if judged.conditions:
            metrics["generator_condition"] = self._condition_loss(judged, conditions)
            total = total + settings.condition_weight * metrics["generator_condition"]
        if judged.information is not None:
            target = noise[:, : self.networks.information]
            metrics["generator_information"] = functional.mse_loss(judged.information, target)
            total = total + settings.information_weight * metrics["generator_information"]

        def features_of(grids: Tensor) -> Tensor:
            return self._judge(self._seen(grids), conditions).features

        def real_features() -> Tensor:
            assert batch is not None
            return features_of(batch.grids)

        at_hand = GeneratorBatch(
            generator=self.state.generator,
            averaged=self.state.averaged,
            noise=noise,
            conditions=conditions,
            grids=made.grids,
            features=judged.features,
            features_of=features_of,
            real=real_features,
            real_grids=None if batch is None else batch.grids,
            spec=self.dataset.spec,
            condition_specs=self.networks.conditions,
            random=self.state.random,
            memory=self.state.path_memory,
        )
        shown = ramp(self.state.step + 1, 0, settings.terms_blend)
        for name, weight in settings.terms.items():
            prepared = self.prepared.get(name)
            metrics[name] = TERMS[name](at_hand) if prepared is None else prepared(at_hand)
            metrics |= {} if prepared is None else prepared.told
            total = total + shown * weight * metrics[name]
        return total, metrics


@contextlib.contextmanager
def _looking_ahead(steps: Steps, n: int) -> Iterator[None]:
    """Let the critic take `n` steps that are taken back at the end."""
    if n == 0:
        yield
        return
    state = steps.state
    before = copy.deepcopy((state.critic.state_dict(), state.critic_optimiser.state_dict()))
    for _ in range(n):
        steps.critic_step()
    state.critic_steps_done -= n
    yield
    state.critic.load_state_dict(before[0])
    state.critic_optimiser.load_state_dict(before[1])
