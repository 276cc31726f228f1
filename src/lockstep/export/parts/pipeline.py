"""Images from a diffusion model that Lockstep trained and that diffusers has no pipeline for.

    import torch
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(FOLDER, custom_pipeline=FOLDER, trust_remote_code=True)
    image = pipe(generator=torch.Generator().manual_seed(0)).images[0]

FOLDER is this file's. From a hub it is `from_pretrained(REPO, trust_remote_code=True)`. What is
asked for comes first: `pipe("red cube, cyan sphere")` of labels, `pipe("cat")` of classes,
`pipe("a red cube")` of sentences; a list is an image each. Steps, guidance and the rest are those
that the model was evaluated with, unless given.

`unet` and `scheduler` are the library's own. What this file adds:

- pixels in patches are folded into channels before the network, and unfolded after it;
- labels, words and their mean reach the network through `condition` (`lockstep_condition.py`);
- `placement` (`lockstep_placement.py`), in models that have it, is layers inside the network in
  which each label or word attends to the image: `unet` alone draws something else;
- `classifier` (`lockstep_classifier.py`), in models that are guided by it, tells which labels a
  noisy image has, and its gradient leads to those that were asked for;
- latents become images by `vae`: the library's, or that of `lockstep_autoencoder.py`;
- each step turns what the network predicts into the clean image that it means, guides, clips, and
  hands that to the scheduler, so that any bound holds with any sampler;
- each step goes to the next level of the list, whatever the number of steps and their spacing, and
  the last one to the clean image;
- the steps of Euler and Heun are taken here, in the units of the network and Heun's from sigma 80
  down (Karras et al. 2022), and so is that of DPM-Solver++ from a level of nothing but noise.

The scheduler may be replaced by another one of DDPM, DDIM, DPM-Solver++, Euler and Heun, by its
`from_config`.
It needs torch and diffusers; with a CLIP as the text encoder, transformers as well.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    ImagePipelineOutput,
)
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

_LEAST_SIGNAL = 1e-5  # of the image's share of the variance, for the classifier to see any of it


class LockstepPipeline(DiffusionPipeline):
    """See above.

    Parameters
    ----------
    unet, scheduler
        `UNet2DModel` or `UNet2DConditionModel`, and how its noise is removed.
    condition
        What makes the network's inputs of what is asked for; None of a model without a condition.
    placement
        Layers that belong behind the resnets of `unet`; None of a model without any.
    classifier
        What guides besides, of noisy images; None of a model that is not guided so.
    text_encoder, tokenizer
        The text half of a CLIP, where that reads the prompts.
    vae
        What makes images of latents; None where pixels are what is diffused.
    patch
        Side of the patches of pixels that are folded into channels; 1 folds nothing.
    steps, eta, guidance_scale, classifier_scale
        The defaults of a call; `eta` is DDIM's, and the last one that of `classifier`.
    guidance_interval, classifier_interval
        The ranges of t / T in which to guide, by either; None guides everywhere.
    guidance_rescale
        How far guided images get back the contrast they had unguided (Lin et al. 2023), 0 to 1.
    clip
        Bound of each estimate of the clean image or latent; None clips nothing.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    # They are small, and not only called: their weights are read, and their parts called alone.
    _exclude_from_cpu_offload = ("condition", "placement", "classifier")
    _optional_components = (
        *("condition", "placement", "classifier"),
        *("text_encoder", "tokenizer", "vae"),
    )

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        condition: Any = None,
        placement: Any = None,
        classifier: Any = None,
        text_encoder: Any = None,
        tokenizer: Any = None,
        vae: Any = None,
        patch: int = 1,
        steps: int = 50,
        eta: float = 0.0,
        guidance_scale: float = 1.0,
        classifier_scale: float = 0.0,
        guidance_interval: list[float] | None = None,
        classifier_interval: list[float] | None = None,
        guidance_rescale: float = 0.0,
        clip: float | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            unet=unet,
            scheduler=scheduler,
            condition=condition,
            placement=placement,
            classifier=classifier,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            vae=vae,
        )
        self.register_to_config(
            patch=patch,
            steps=steps,
            eta=eta,
            guidance_scale=guidance_scale,
            classifier_scale=classifier_scale,
            guidance_interval=guidance_interval,
            classifier_interval=classifier_interval,
            guidance_rescale=guidance_rescale,
            clip=clip,
        )

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        batch_size: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        classifier_scale: float | None = None,
        eta: float | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Images for the prompts.

        Parameters
        ----------
        prompt
            A list is an image each; one prompt, or none, is `batch_size` images.
        generator
            Of the noise; a list has one for each image.
        latents
            (B, C, h, w), the noise to begin from instead.
        output_type
            `pil`, `np` (B, H, W, 3) or `pt` (B, 3, H, W), the latter two in [0, 1].

        Raises
        ------
        ValueError
            If the model cannot read a prompt, or there are more steps than noise levels.
        """
        given = {
            "steps": num_inference_steps,
            "eta": eta,
            "guidance_scale": guidance_scale,
            "classifier_scale": classifier_scale,
        }
        settings = {**self.config, **{k: v for k, v in given.items() if v is not None}}
        prompts = [prompt] * batch_size if prompt is None or isinstance(prompt, str) else prompt
        patch, unet = self.config.patch, self.unet.config
        side = unet.sample_size * patch
        shape = (len(prompts), unet.in_channels // patch**2, side, side)
        device = self._execution_device
        conditions = self._conditions(list(prompts), device)
        scheduler, levels = self._scheduler(settings["steps"], device)
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        x = latents.to(device, torch.float32)
        options = {"eta": settings["eta"]} if isinstance(scheduler, DDIMScheduler) else {}
        scales = settings["guidance_scale"], settings["classifier_scale"]
        for t, following in self.progress_bar(list(zip(levels, [*levels[1:], None], strict=True))):
            clean = self._guided(x, t, conditions, *scales)
            if following is None:
                x = clean
                break
            if self._steps_itself(scheduler, t):
                ahead = self._toward(clean, x, t, following)
                if isinstance(scheduler, HeunDiscreteScheduler) and self._sigma(t) <= 80:
                    there = self._guided(ahead, following, conditions, *scales)
                    ratio = self._sigma(t) / (2 * self._sigma(following))
                    ahead = self._toward(clean + ratio * (there - clean), x, t, following)
                x = ahead
                continue
            if isinstance(scheduler, DDIMScheduler):
                scheduler.num_inference_steps = _Stride(t - following)
            x = scheduler.step(clean, t, x, generator=generator, **options).prev_sample
        images = (self._decode(x) / 2 + 0.5).clamp(0, 1)
        self.maybe_free_model_hooks()
        result: Any = images
        if output_type != "pt":
            result = images.cpu().permute(0, 2, 3, 1).float().numpy()
            result = self.numpy_to_pil(result) if output_type == "pil" else result
        return ImagePipelineOutput(images=result) if return_dict else (result,)

    def _conditions(
        self, prompts: list[str | None], device: torch.device
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """What the network takes besides images: as asked for, and with nothing said."""
        if self.condition is None:
            if any(prompt is not None for prompt in prompts):
                raise ValueError("prompt: this model has no condition; leave it out")
            return {}, None
        if self.text_encoder is None:
            values = self.condition.read(prompts)
        else:
            values = self.tokenizer(
                [prompt or "" for prompt in prompts],
                padding="max_length",
                max_length=self.tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            values = self.text_encoder(values.to(device)).last_hidden_state
        said = torch.tensor([bool((prompt or "").strip()) for prompt in prompts], device=device)
        values = values.to(device)
        asked = {**self.condition(values, said), "asked": (values, said)}
        return asked, self.condition(values, torch.zeros_like(said))

    def _scheduler(self, steps: int, device: torch.device) -> tuple[Any, list[int]]:
        """A scheduler that is told clean images, set to the levels, and these."""
        config = self.scheduler.config
        told = {"prediction_type": "sample", "clip_sample": False, "thresholding": False}
        changes = {name: value for name, value in told.items() if name in config}
        scheduler = type(self.scheduler).from_config(config, **changes)
        levels = _levels(config.num_train_timesteps, steps, config.timestep_spacing)
        if not isinstance(scheduler, DDIMScheduler):  # which is told each stride instead
            its = [t for t in levels if not self._steps_itself(scheduler, t)]
            scheduler.set_timesteps(timesteps=its or levels, device=device)
        return scheduler, levels

    def _steps_itself(self, scheduler: Any, t: int) -> bool:
        """Whether the step from level t is not the scheduler's."""
        if isinstance(scheduler, (EulerDiscreteScheduler, HeunDiscreteScheduler)):
            return True
        alone = isinstance(scheduler, (DDIMScheduler, DDPMScheduler))
        return not alone and self._alpha_bar(t) == 0

    def _alpha_bar(self, t: int) -> float:
        """The share of the image's variance; some schedulers have 2^-24 where it is 0."""
        config = self.scheduler.config
        if config.get("rescale_betas_zero_snr") and t == config.num_train_timesteps - 1:
            return 0.0
        return float(self.scheduler.alphas_cumprod[t])

    def _sigma(self, t: int) -> float:
        """The noise's deviation where images are not scaled down."""
        alpha_bar = self._alpha_bar(t)
        return math.sqrt((1 - alpha_bar) / alpha_bar) if alpha_bar else math.inf

    def _toward(self, clean: Tensor, x: Tensor, t: int, following: int) -> Tensor:
        """x with the noise of the level that follows, were `clean` its clean image."""
        alpha_bar, next_alpha_bar = self._alpha_bar(t), self._alpha_bar(following)
        shrink = math.sqrt((1 - next_alpha_bar) / (1 - alpha_bar))
        on_clean = math.sqrt(next_alpha_bar) - math.sqrt(alpha_bar) * shrink
        return shrink * x + on_clean * clean

    def _guided(
        self,
        x: Tensor,
        t: int,
        conditions: tuple[dict[str, Any], dict[str, Any] | None],
        scale: float,
        classifier_scale: float,
    ) -> Tensor:
        """The clean image that x is of, at level t: guided and clipped.

        Guided by the network without its condition (Ho & Salimans 2022), and by the classifier
        (Dhariwal & Nichol 2021) wherever anything is to be seen in x.
        """
        asked, nothing = conditions
        clean = self._clean(x, t, asked)
        if nothing is not None and scale != 1 and self._is_inside("guidance_interval", t):
            without = self._clean(x, t, nothing)
            guided = without + scale * (clean - without)
            if rescale := self.config.guidance_rescale:
                own, its = (each.std((1, 2, 3), keepdim=True) for each in (clean, guided))
                tiny = torch.finfo(its.dtype).tiny
                guided = (rescale * own / its.clamp(min=tiny) + 1 - rescale) * guided
            clean = guided
        alpha_bar = self._alpha_bar(t)
        seen = alpha_bar >= _LEAST_SIGNAL and self._is_inside("classifier_interval", t)
        if self.classifier is not None and classifier_scale and seen:
            gradient = self.classifier.gradient(x, t, *asked["asked"])
            clean = clean + (1 - alpha_bar) / math.sqrt(alpha_bar) * classifier_scale * gradient
        bound = self.config.clip
        return clean if bound is None else clean.clamp(-bound, bound)

    def _is_inside(self, interval: str, t: int) -> bool:
        low, high = self.config[interval] or (0, 1)
        return low <= t / self.scheduler.config.num_train_timesteps <= high

    def _clean(self, x: Tensor, t: int, condition: dict[str, Any]) -> Tensor:
        """What the network believes, by what it predicts; x = signal x0 + sigma epsilon."""
        patch, dtype = self.config.patch, self.unet.dtype
        folded = F.pixel_unshuffle(x, patch).to(dtype)
        inputs = {n: value for n, value in condition.items() if n not in ("placed", "asked")}
        with ExitStack() as stack:
            if self.placement is not None:
                stack.enter_context(self.placement.inside(self.unet, *condition["placed"]))
            predicted = self.unet(folded, t, **inputs).sample
        output = F.pixel_shuffle(predicted.float(), patch)
        alpha_bar = self._alpha_bar(t)
        signal, sigma = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        match self.scheduler.config.prediction_type:
            case "sample":
                return output
            case "epsilon":
                return (x - sigma * output) / signal
            case _:
                return signal * x - sigma * output

    def _decode(self, x: Tensor) -> Tensor:
        """Images in about [-1, 1]."""
        if self.vae is None:
            return x
        x = x.to(self.vae.dtype)
        if not isinstance(self.vae, AutoencoderKL):
            return self.vae.decode(x).float()
        config = self.vae.config

        def channels(value: Any) -> Tensor:
            return torch.tensor(value, device=x.device, dtype=x.dtype).view(-1, 1, 1)

        deviation = channels(config.latents_std or 1.0) / config.scaling_factor
        mean = channels(config.latents_mean or config.shift_factor or 0.0)
        return self.vae.decode(x * deviation + mean).sample.float()


class _Stride(int):
    """For DDIMScheduler, whose next level is t - T // steps: as its steps, T // this is itself."""

    def __rfloordiv__(self, levels: int) -> int:
        return int(self)


def _levels(T: int, steps: int, spacing: str) -> list[int]:
    """Which of T levels are visited, the noisiest first (Lin et al. 2023, table 2)."""
    if not 1 <= steps <= T:
        raise ValueError(f"num_inference_steps: {steps} is out of range; give 1 to {T}")
    if spacing == "trailing":
        stride = (T - T / steps) - T
        return [round(T + i * stride) - 1 for i in range(steps)]
    if spacing == "leading":
        return [i * (T // steps) for i in reversed(range(steps))]
    return [round(i * ((T - 1) / max(1, steps - 1))) for i in reversed(range(steps))]
