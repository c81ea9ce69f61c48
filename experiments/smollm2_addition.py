"""A real pretrained model: SmolLM2-135M-Instruct learns two-digit addition and to reply with the equation alone.

  sirl fetch smollm2-135m-instruct weights/smollm2-135m-instruct
  sirl run experiments/smollm2_addition.py [--set model=FOLDER_OR_HUB_NAME] [--set debug=true]

The reward is 1 for the right number as the last integer of the reply, plus 0.5 when the reply is one equation, 25 + 38 = 63, and
nothing else. Any Hugging Face folder, hub name or .gguf file works the same way. Hardware: 2 CPU cores, 12 GB, half an hour to
an hour. Its numbers stand in experiments/defaults.py, class Pretrained.

Source: GRPO, Shao et al. 2024 (arXiv 2402.03300). Differs: no KL; one update per rollout, so plain policy gradient; short replies.
"""

import dataclasses

from experiments import quickstart, settings
from sirl import recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  model: str = 'weights/smollm2-135m-instruct'


build = settings.built(quickstart.method)
