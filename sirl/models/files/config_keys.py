"""The keys of a config.json: which are read, which change nothing, and which are refused.

A key that another implementation reads and that this decoder does not compute must not be ignored,
because the weights would load and the logits would be wrong. So each key is of one of four kinds:

- read: it becomes a field of `Architecture` (`families`, `config_rope`);
- harmless: it concerns training, sampling, storage or tokens, and no logit depends on it;
- refused: it changes the computation; only its neutral value is accepted;
- unknown: `check` warns about it by name, once per config.
"""

import logging

log = logging.getLogger(__name__)

READ = {  # by every family
  'vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'num_key_value_heads',
  'head_dim', 'intermediate_size', 'max_position_embeddings', 'rms_norm_eps', 'tie_word_embeddings',
  'model_type', 'rope_parameters', 'rope_scaling', 'rope_theta',
  'original_max_position_embeddings',
}  # fmt: skip
WINDOW = {'sliding_window', 'layer_types'}
SOFTCAPS = {'query_pre_attn_scalar', 'attn_logit_softcapping', 'final_logit_softcapping'}
PATTERNS = {'sliding_window_pattern', '_sliding_window_pattern'}
READ_BY = {  # model_type -> what it reads besides
  'llama': {'hidden_act'},
  'qwen2': {'hidden_act', 'use_sliding_window', 'max_window_layers'} | WINDOW,
  'qwen3': {'hidden_act', 'use_sliding_window', 'max_window_layers'} | WINDOW,
  'gemma2': {'hidden_activation'} | WINDOW | SOFTCAPS,
  'gemma3_text': {'hidden_activation', 'rope_local_base_freq'} | WINDOW | SOFTCAPS | PATTERNS,
}
HARMLESS = {
  # bookkeeping
  'architectures', 'transformers_version', '_name_or_path', 'dtype', 'torch_dtype', 'is_llama_config',
  'transformers.js_config', 'unsloth_fixed', 'unsloth_version', 'tokenizer_class', 'pretraining_tp',
  'attn_implementation', '_attn_implementation', '_attn_implementation_autoset', 'use_flash_attn',
  # training
  'initializer_range', 'attention_dropout', 'hidden_dropout', 'hidden_dropout_prob',
  'gradient_checkpointing', 'finetuning_task', 'problem_type', 'id2label', 'label2id',
  # caches and outputs of transformers
  'use_cache', 'cache_implementation', 'output_attentions', 'output_hidden_states', 'return_dict',
  'chunk_size_feed_forward', 'is_encoder_decoder',
  # tokens and sampling, which the codec and the sampler have of their own
  'bos_token_id', 'eos_token_id', 'pad_token_id', 'do_sample', 'temperature', 'top_k', 'top_p',
  'max_length', 'repetition_penalty',
}  # fmt: skip
HARMLESS_IN = {  # not read by the family's reference implementation
  'llama': {'use_sliding_window', 'max_window_layers'},
  'gemma2': {'hidden_act'},  # older files hold it beside hidden_activation
  'gemma3_text': {'hidden_act'},
}
_OFF, _ONE, _NONE = (None, False), (None, 1), (None, 0)
REFUSED = {  # key -> the values for which this decoder is right
  'attention_bias': _OFF, 'mlp_bias': _OFF, 'bias': _OFF, 'use_bias': _OFF, 'lm_head_bias': _OFF,
  'add_cross_attention': _OFF, 'use_bidirectional_attention': _OFF, 'is_causal': (None, True),
  'alibi': _OFF, 'position_embedding_type': (None, 'rope', 'rotary'),
  'quantization_config': (None,), 'quantization': (None,), 'compression_config': (None,),
  'text_config': (None,), 'vision_config': (None,), 'audio_config': (None,),
  # rotary embedding
  'partial_rotary_factor': _ONE, 'rotary_pct': _ONE, 'rope_ratio': _ONE, 'rotary_dim': (None,),
  'rope_interleaved': _OFF, 'use_mrope': _OFF, 'mrope_section': (None,), 'use_dynamic_ntk': _OFF,
  'use_logn_attn': _OFF, 'no_rope_layers': (None, []), 'no_rope_layer_interval': _NONE,
  # factors on the embedding, the residual stream, the scores and the logits
  'embedding_multiplier': _ONE, 'residual_multiplier': _ONE, 'logits_scaling': _ONE,
  'logit_scale': _ONE, 'attention_multiplier': (None,), 'scale_emb': _ONE, 'scale_depth': (None,),
  'dim_model_base': (None,), 'clip_qkv': (None,), 'attn_temperature_tuning': (None, False, 0),
  # other blocks and other attention
  'use_parallel_residual': _OFF, 'parallel_attn': _OFF, 'attention_chunk_size': (None,),
  'num_kv_shared_layers': _NONE, 'hidden_size_per_layer_input': _NONE, 'v_head_dim': (None,),
  'q_lora_rank': (None,), 'kv_lora_rank': (None,), 'num_experts': _NONE,
  'num_local_experts': _NONE, 'n_routed_experts': _NONE,
  # of some families only
  'qkv_bias': _OFF, 'use_qk_norm': _OFF, 'qk_norm': _OFF, 'qk_layernorm': _OFF,
  'query_pre_attn_scalar': (None,), 'attn_logit_softcapping': (None,),
  'final_logit_softcapping': (None,), 'sliding_window': (None,), 'layer_types': (None,),
  'sliding_window_pattern': (None,), '_sliding_window_pattern': (None,),
  'rope_local_base_freq': (None,), 'hidden_activation': (None,),
}  # fmt: skip
REFUSED_IN = {  # other right values in one family
  'llama': {'sliding_window': (0, None)},
  'qwen2': {'qkv_bias': (None, True)},
  'qwen3': {'use_qk_norm': (None, True), 'qk_norm': (None, True), 'qk_layernorm': (None, True)},
  'gemma2': {'sliding_window_pattern': (None, 2), '_sliding_window_pattern': (None, 2)},
  'gemma3_text': {'use_qk_norm': (None, True), 'qk_norm': (None, True)},
}
ALIASES = {  # another name for a key that is read; refused unless the two agree
  'layer_norm_eps': 'rms_norm_eps', 'layer_norm_epsilon': 'rms_norm_eps',
  'norm_eps': 'rms_norm_eps', 'n_layer': 'num_hidden_layers', 'num_layers': 'num_hidden_layers',
  'n_head': 'num_attention_heads', 'n_embd': 'hidden_size', 'kv_channels': 'head_dim',
  'num_kv_heads': 'num_key_value_heads', 'ffn_hidden_size': 'intermediate_size',
  'rotary_base': 'rope_theta', 'rotary_emb_base': 'rope_theta',
  'activation_function': 'hidden_act', 'sliding_window_size': 'sliding_window',
}  # fmt: skip
WHOLE = {key for key in READ if key.startswith(('num_', 'hidden_', 'intermediate_'))}
WHOLE |= {'vocab_size', 'head_dim', 'max_position_embeddings', 'original_max_position_embeddings'}


def check(config, family):
  """Raises ValueError for a key that this decoder does not compute; warns about unknown keys.

  Args: config: the parsed config.json; family: its model_type, one of READ_BY.
  """
  read = READ | READ_BY[family]
  refused = REFUSED | REFUSED_IN.get(family, {})
  harmless = HARMLESS | HARMLESS_IN.get(family, set())
  unknown = []
  for key, value in config.items():
    if key in read:
      _check_type(key, value)
    elif key in harmless or value is None:
      pass
    elif key in refused:
      if value not in refused[key]:
        raise ValueError(
          f'{key}={value!r} is not supported for {family}; expected {refused[key][-1]!r}'
        )
    elif key in ALIASES:
      if value != config.get(ALIASES[key]):
        raise ValueError(
          f'{key}={value!r} is not read for {family}, and {ALIASES[key]} is '
          f'{config.get(ALIASES[key])!r}; write the right one as {ALIASES[key]} and remove {key}'
        )
    else:
      unknown.append(key)
  if unknown:
    log.warning(
      'config.json of %s has keys that are not known here and are ignored: %s; check that none of '
      'them changes the computation',
      family,
      ', '.join(sorted(unknown)),
    )


def _check_type(key, value):
  """Raises ValueError for a number or switch of the wrong type, such as the text 'false'."""
  if value is None:
    return
  switch = key in ('tie_word_embeddings', 'use_sliding_window')
  if switch and not isinstance(value, bool):
    raise ValueError(f'{key}={value!r} is a {type(value).__name__}; expected true or false')
  if key in WHOLE and (isinstance(value, bool) or not isinstance(value, int)):
    raise ValueError(f'{key}={value!r} is a {type(value).__name__}; expected a whole number')
