"""The side of Hugging Face transformers: `generate`, and a GRPO update written by hand in PyTorch.

Variants: decode with the 'dynamic' or the 'static' cache; train on 'whole' batches, or with
gradients added over 'micro' batches. The model is a Llama of the case's shape with random weights.
It uses scaled-dot-product attention and fused AdamW, the fastest that PyTorch offers on a CPU.
"""

import sys

import torch
import transformers

from experiments.benchmarks import protocol


def main(variant):
  """Serves the cases in one variant."""
  torch.set_num_threads(protocol.cores())

  def prepare(case, shape, lengths):
    return KINDS[case['kind']](case, llama(shape), variant)

  protocol.serve(prepare, {'torch': torch.__version__, 'transformers': transformers.__version__})


def llama(shape):
  """A model of the shape with random weights."""
  torch.manual_seed(0)
  config = transformers.LlamaConfig(
    vocab_size=shape['vocab'],
    hidden_size=shape['width'],
    num_hidden_layers=shape['layers'],
    num_attention_heads=shape['heads'],
    num_key_value_heads=shape['kv_heads'],
    head_dim=shape['head_width'],
    intermediate_size=shape['ffw'],
    max_position_embeddings=2048,
    tie_word_embeddings=True,
    bos_token_id=None,
    eos_token_id=None,
    pad_token_id=1,
  )
  model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation='sdpa')
  return model.float().eval()


def decode(case, model, variant):
  """One rollout; the members of a group are rows with the same prompt."""
  rows = random_tokens(case, case['prompt']).repeat_interleave(case['group_size'], dim=0)
  how = transformers.GenerationConfig(
    do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=case['new'],
    eos_token_id=None, pad_token_id=1,
    cache_implementation='static' if variant == 'static' else None, disable_compile=True,
  )  # fmt: skip

  @torch.inference_mode()
  def run():
    tokens = model.generate(rows, attention_mask=torch.ones_like(rows), generation_config=how)
    return {'tokens': tokens[:, case['prompt'] :].numel()}

  return run


def prefill(case, model, variant):
  """A prefill of the prompts: their cache and the logits of the first new token."""
  rows = random_tokens(case, case['prompt'])

  @torch.inference_mode()
  def run():
    model(rows, use_cache=True, logits_to_keep=1)
    return {'tokens': rows.numel()}

  return run


def train(case, model, variant):
  """One update: clipped policy gradient on completion tokens, gradient clipping, AdamW."""
  model.train()
  S, N, B = case['prompt'], case['new'], case['prompts'] * case['group_size']
  rows = random_tokens(case, S + N).repeat_interleave(case['group_size'], dim=0)
  advantages, old = torch.randn(B, 1), torch.full((B, N), -6.0)
  optimizer = torch.optim.AdamW(model.parameters(), 1e-5, betas=(0.9, 0.95), fused=True)
  size = case['micro'] if variant == 'micro' else B

  def run():
    optimizer.zero_grad(set_to_none=True)
    for i in range(0, B, size):
      piece = slice(i, i + size)
      logits = model(rows[piece], use_cache=False, logits_to_keep=N + 1).logits[:, :-1]
      logp = log_probs(logits, rows[piece, S:])
      ratio = torch.exp(logp - torch.where(old[piece] < 0, logp.detach(), old[piece]))
      gain = torch.minimum(ratio * advantages[piece], ratio.clip(0.8, 1.2) * advantages[piece])
      (-gain.sum() / (B * N)).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return {'tokens': rows.numel()}

  return run


def log_probs(logits, tokens):
  """Log-prob of each token, without a second array of the size of the logits."""
  chosen = logits.gather(-1, tokens[..., None])[..., 0]
  return chosen - torch.logsumexp(logits, dim=-1)


def random_tokens(case, width):
  """Random tokens, int64 [P, width]."""
  shape = (case['prompts'], width)
  return torch.randint(2, 500, shape, generator=torch.Generator().manual_seed(0))


KINDS = {'decode': decode, 'prefill': prefill, 'train': train}

if __name__ == '__main__':
  main(sys.argv[1])
