"""Sinks send metrics to other tools. A sink is `(serial, {name: number}) -> None`."""

import hashlib

from sirl import config as configs


def opened(name, workdir, config):
  """Opens a sink for a run. name: 'tensorboard', 'wandb' or 'trackio'.

  The sink's run is named after the workdir. A resumed run continues the same curves.
  Raises: ValueError when the package is missing.
  """
  numbers = configs.dump(config)
  if name == 'tensorboard':
    return tensorboard(workdir / 'tensorboard')
  if name == 'wandb':
    place = hashlib.blake2b(str(workdir.resolve()).encode(), digest_size=8).hexdigest()
    return wandb(project='sirl', id=place, name=workdir.name, config=numbers, resume='allow')
  return trackio(project='sirl', name=workdir.name, config=numbers)


def tensorboard(folder):
  """A sink that writes TensorBoard event files. Raises ValueError without tensorboardX."""
  tensorboardX = _optional('tensorboardX', 'tensorboard')
  writer = tensorboardX.SummaryWriter(str(folder))

  def write(serial, numbers):
    for name, value in numbers.items():
      writer.add_scalar(name, value, serial)
    writer.flush()

  return write


def wandb(**options):
  """A sink for Weights & Biases; options go to wandb.init. Raises ValueError without wandb."""
  run = _optional('wandb', 'wandb').init(**options)
  return lambda serial, numbers: run.log(dict(numbers), step=serial)


def trackio(**options):
  """A sink for trackio; options go to trackio.init. Raises ValueError without trackio."""
  run = _optional('trackio', 'trackio').init(**options)
  return lambda serial, numbers: run.log(dict(numbers), step=serial)


def _optional(module, extra):
  """Imports an optional package. Raises ValueError with the install command if it is missing."""
  import importlib

  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise ValueError(f'{module} is not installed; run: pip install "sirl[{extra}]"') from error
