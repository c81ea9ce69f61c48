"""SmolLM2-135M-Instruct, a pretrained model, learns two-digit addition.

  sirl fetch smollm2-135m-instruct weights/smollm2-135m-instruct
  sirl run experiments/smollm2_addition.py [--set model=FOLDER_OR_HUB_NAME] [--set debug=true]

It also learns to reply with the equation alone. The reward is 1 if the last integer of the reply is
the right number. It is 0.5 more if the reply is one equation, 25 + 38 = 63, and nothing else. Any
Hugging Face folder, hub name or .gguf file works the same way. Hardware: 2 CPU cores, 12 GB, half
an hour to an hour. The default numbers are in experiments/defaults.py, class Pretrained.

Source: GRPO, Shao et al. 2024 (arXiv 2402.03300). Differs: no KL; one update per rollout, which
  makes it plain policy gradient; short replies.
"""

import dataclasses

from experiments import quickstart, settings
from sirl import recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  model: str = 'weights/smollm2-135m-instruct'


build = settings.built(quickstart.method)
