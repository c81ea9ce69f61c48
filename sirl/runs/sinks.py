"""Sinks: where numbers go besides the run's folder. A sink is `(serial, {name: number}) -> None`."""

import hashlib

from sirl import config as configs


def opened(name, workdir, config):
  """The sink of that name for a run: 'tensorboard', 'wandb' or 'trackio'.

  The run has the name of its workdir; a resumed run goes on where it was. Raises ValueError when the package is missing.
  """
  numbers = configs.dump(config)
  if name == 'tensorboard':
    return tensorboard(workdir / 'tensorboard')
  if name == 'wandb':
    place = hashlib.blake2b(str(workdir.resolve()).encode(), digest_size=8).hexdigest()
    return wandb(project='sirl', id=place, name=workdir.name, config=numbers, resume='allow')
  return trackio(project='sirl', name=workdir.name, config=numbers)


def tensorboard(folder):
  """A sink that writes TensorBoard event files. Raises ValueError when tensorboardX is not installed."""
  tensorboardX = _optional('tensorboardX', 'tensorboard')
  writer = tensorboardX.SummaryWriter(str(folder))

  def write(serial, numbers):
    for name, value in numbers.items():
      writer.add_scalar(name, value, serial)
    writer.flush()

  return write


def wandb(**options):
  """A sink for Weights & Biases; options go to wandb.init. Raises ValueError when wandb is not installed."""
  run = _optional('wandb', 'wandb').init(**options)
  return lambda serial, numbers: run.log(dict(numbers), step=serial)


def trackio(**options):
  """A sink for trackio; options go to trackio.init. Raises ValueError when trackio is not installed."""
  run = _optional('trackio', 'trackio').init(**options)
  return lambda serial, numbers: run.log(dict(numbers), step=serial)


def _optional(module, extra):
  """Imports an optional package; the one place where a module is found by its name."""
  import importlib

  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise ValueError(f'{module} is not installed; run: pip install "sirl[{extra}]"') from error
