"""The side of Tunix: its Sampler, its actor update, and whole steps of its GRPOLearner.

The model is its Qwen2 in the case's shape with random weights. The cache has exactly the number of
tokens needed, because the sampler attends to all of it. Update and step use the learner's own
compiled train step with its GRPO loss, without KL.
"""

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tunix.generate import sampler as samplers
from tunix.models.qwen2 import model as qwen2
from tunix.rl import common, rl_cluster
from tunix.rl.grpo import grpo_learner
from tunix.rl.rollout import base_rollout

from experiments.benchmarks import protocol

PAD, BOS, EOS = 1, 2, 0


def main(variant):
  """Serves the cases. Args: variant: 'plain', or for updates and steps 'whole' or 'micro'."""

  def prepare(case, shape, lengths):
    del lengths  # its sampler cannot take lengths
    return KINDS[case['kind']](case, shape, variant == 'micro')

  from importlib import metadata

  protocol.serve(
    prepare, {'jax': jax.__version__, 'google-tunix': metadata.version('google-tunix')}
  )


def qwen(shape):
  """A model of the shape with random weights."""
  config = qwen2.ModelConfig(
    num_layers=shape['layers'],
    vocab_size=shape['vocab'],
    embed_dim=shape['width'],
    hidden_dim=shape['ffw'],
    num_heads=shape['heads'],
    head_dim=shape['head_width'],
    num_kv_heads=shape['kv_heads'],
    rope_theta=10_000,
    norm_eps=1e-6,
    use_tied_embedding=True,
  )
  return qwen2.Qwen2(config, rngs=nnx.Rngs(0))


class Numbers:
  """A tokenizer whose words are numbers: token 17 is '17'."""

  def encode(self, text, **how):
    """Ids of a text."""
    return [int(word) for word in text.split()]

  def decode(self, ids, **how):
    """Text of ids."""
    return ' '.join(map(str, ids))

  def bos_id(self):
    """The beginning token."""
    return BOS

  def eos_id(self):
    """The end token."""
    return EOS

  def pad_id(self):
    """The token left of prompts and right of completions."""
    return PAD


class Plain(samplers.Sampler):
  """The sampler without the beginning token, which it otherwise puts before every prompt."""

  def tokenize(self, input_string):
    """Ids of a prompt."""
    return np.asarray(self.tokenizer.encode(input_string), np.int32)


def decode(case, shape, micro):
  """One rollout with log-probs; the members of a group are rows with the same prompt."""
  del micro
  size = case['prompt'] + case['new']
  cache = samplers.CacheConfig(size, shape['layers'], shape['kv_heads'], shape['head_width'])
  sample = Plain(qwen(shape), Numbers(), cache)
  texts = [text for text in prompts(case, shape) for _ in range(case['group_size'])]

  def run():
    output = sample(
      texts,
      case['new'],
      max_prompt_length=case['prompt'],
      temperature=1.0,
      top_p=1.0,
      return_logprobs=True,
      eos_tokens=[shape['vocab']],  # never drawn
    )
    return {'tokens': sum(len(row) for row in output.tokens)}

  return run


def train(case, shape, micro):
  """One update of the learner's trainer on given rollouts.

  Micro-batches use the trainer's gradient accumulation.
  """
  B, random = case['prompts'] * case['group_size'], np.random.default_rng(0)
  pieces = B // case['micro'] if micro else 1
  learner, cluster = learner_of(case, shape, pieces, 1)
  ids = lambda width: jnp.asarray(random.integers(2, shape['vocab'], (B, width)), jnp.int32)
  example = common.TrainExample(
    prompt_ids=ids(case['prompt']),
    prompt_mask=jnp.ones((B, case['prompt']), bool),
    completion_ids=ids(case['new']),
    completion_mask=jnp.ones((B, case['new']), bool),
    advantages=jnp.asarray(random.standard_normal(B), jnp.float32),
    ref_per_token_logps=None,
    old_per_token_logps=None,
  )
  del learner  # creating it has set the trainer's loss
  update, _ = cluster.actor_trainer.jit_train_and_eval_step()

  rows = B // pieces
  examples = [jax.tree.map(lambda x, i=i: x[i : i + rows], example) for i in range(0, B, rows)]

  def run():
    for piece in examples:
      found = update(piece)
    jax.block_until_ready(found)
    jax.block_until_ready(nnx.state(cluster.actor_trainer.model))
    return {'tokens': B * (case['prompt'] + case['new'])}

  return run


def step(case, shape, micro):
  """One global step of the learner: generate, reward, update."""
  learner, cluster = learner_of(
    case, shape, case['prompts'], max(1, case['micro'] // case['group_size']) if micro else None
  )
  # One token less, because its rollout adds a beginning token.
  texts = prompts({**case, 'prompt': case['prompt'] - 1}, shape)

  def loop(pause):
    def batches():
      for _ in itertools.count():
        jax.block_until_ready(nnx.state(cluster.actor_trainer.model))
        pause()
        yield {'prompts': np.array(texts)}

    learner.train(batches())

  turns = protocol.Turns(loop)

  def run():
    turns.advance()
    rows = case['prompts'] * case['group_size']
    return {'tokens': rows * (case['prompt'] + case['new'])}

  return run


def learner_of(case, shape, minibatch, micro):
  """(learner, cluster), all on one device.

  Args: minibatch: parts of an update; micro: parts computed at once, or None.
  """
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ('fsdp', 'tp'))
  size = case['prompt'] + case['new']
  cluster = rl_cluster.RLCluster(
    actor=qwen(shape),
    tokenizer=Numbers(),
    cluster_config=rl_cluster.ClusterConfig(
      role_to_mesh={
        role: mesh
        for role in (rl_cluster.Role.ACTOR, rl_cluster.Role.REFERENCE, rl_cluster.Role.ROLLOUT)
      },
      training_config=rl_cluster.RLTrainingConfig(
        actor_optimizer=optax.chain(
          optax.clip_by_global_norm(1.0), optax.adamw(1e-5, b2=0.95, weight_decay=0.0)
        ),
        eval_every_n_steps=1_000_000,
        max_steps=1_000_000,
        mini_batch_size=minibatch,
        train_micro_batch_size=micro,
        pbar_description=None,
      ),
      rollout_config=base_rollout.RolloutConfig(
        max_tokens_to_generate=case['new'],
        max_prompt_length=case['prompt'],
        kv_cache_size=size,
        temperature=1.0,
        top_p=1.0,
        eos_tokens=[shape['vocab']],
      ),
    ),
  )
  learner = grpo_learner.GRPOLearner(
    rl_cluster=cluster,
    algo_config=grpo_learner.GRPOConfig(num_generations=max(2, case['group_size']), beta=0.0),
    reward_fns=lambda prompts, completions, **rest: [len(text) % 7 / 7 for text in completions],
  )
  return learner, cluster


def prompts(case, shape):
  """Texts of random numbers."""
  random = np.random.default_rng(0)
  rows = random.integers(2, shape['vocab'], (case['prompts'], case['prompt']))
  return [' '.join(map(str, row)) for row in rows]


KINDS = {'decode': decode, 'train': train, 'step': step}

if __name__ == '__main__':
  main(sys.argv[1])
