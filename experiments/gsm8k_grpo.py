r"""GRPO on GSM8K with a verifiable reward, from a folder on disk.

  sirl run experiments/gsm8k_grpo.py --set data=DIR --set model=DIR_OR_HUB_NAME [--distributed]

`data` is a folder of one of two kinds. A version prepared by TFDS with file_format='array_record'
holds dataset_info.json and the splits train and test. Otherwise the folder holds train.jsonl and
test.jsonl with rows {"question": ..., "answer": "... #### 42"}.
The reward is 1 if the model's final answer equals the number behind the #### marks. The final
answer is the last box of the reply, else a tag, else the last number. An answer in a box earns 0.1
more.

Hardware: one host of 8 TPU chips or GPUs of 16 GB or more with the defaults (0.5B parameters, 128 x
16 completions of up to 1024 tokens a step), more hosts with --distributed. Expect hours; we have
not run it at pod scale. The default numbers are in experiments/defaults.py, class PretrainedText.
`--set debug=true` takes generated questions and a byte-level model trained from nothing. It takes a
minute on 2 CPU cores.
Source: GRPO, Shao et al. 2024 (arXiv 2402.03300), sec. 4; clip-higher and dropped groups from DAPO,
  Yu et al. 2025 (arXiv 2503.14476). Differs: no KL by default, dropped groups are not sampled
  again.
"""

import dataclasses

from experiments import settings
from sirl import ranges, recipe
from sirl.optimization import advantages, by_group, objectives
from sirl.selection import selectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  task: str = 'gsm8k'
  model: str = 'Qwen/Qwen2.5-0.5B-Instruct'  # Qwen/Qwen3-0.6B works as well
  clip: tuple[ranges.NotNegative, ranges.NotNegative] = (0.2, 0.28)


def method(c, s):
  """GRPO with DAPO's higher upper clip; drops groups that are all right or all wrong."""
  return recipe.Method(
    keep=selectors.informative('correct'),
    credit=by_group(advantages.normalized),
    objective=objectives.clipped(*c.clip),
  )


build = settings.built(method, small={'slices': 2, 'rows': 16, 'widths': (8,)})
