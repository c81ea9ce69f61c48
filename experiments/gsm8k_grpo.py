r"""GRPO on GSM8K with a verifiable reward, from a folder on disk.

  sirl run experiments/gsm8k_grpo.py --set data=DIR --set model=DIR_OR_HUB_NAME [--distributed] [--set debug=true]

`data` is a version prepared by TFDS with file_format='array_record' (dataset_info.json in it, splits train and test), or a
folder with train.jsonl and test.jsonl of rows {"question": ..., "answer": "... #### 42"}. The model solves a question, the
last box (or tag, or number) of its text is compared with the number behind the marks; a tenth more for answering in a box.

Hardware and hours: not run by us at pod scale. Meant for one host of 8 TPU chips or GPUs of 16 GB or more with the defaults
(0.5B parameters, 128 x 16 completions of up to 1024 tokens a step), and for more hosts with --distributed; expect hours. Its
numbers stand in experiments/defaults.py, class PretrainedText. `debug=true` takes generated questions and a model of bytes
from nothing: a minute on 2 CPU cores.
Source: GRPO, Shao et al. 2024 (arXiv 2402.03300), sec. 4; clip-higher and dropped groups from DAPO, Yu et al. 2025 (arXiv
2503.14476). Differs: no KL by default, dropped groups are not sampled again.
"""

import dataclasses

from experiments import settings
from sirl import recipe
from sirl.optimization import advantages, by_group, objectives
from sirl.selection import selectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  task: str = 'gsm8k'
  model: str = 'Qwen/Qwen2.5-0.5B-Instruct'  # Qwen/Qwen3-0.6B works as well
  clip: tuple[float, float] = (0.2, 0.28)


def method(c, s):
  """GRPO that clips higher above and leaves out groups whose completions are all right or all wrong."""
  return recipe.Method(
    keep=selectors.informative('correct'),
    credit=by_group(advantages.normalized),
    objective=objectives.clipped(*c.clip),
  )


build = settings.built(method, small={'slices': 2, 'rows': 16, 'widths': (8,)})
