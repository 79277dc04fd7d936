/**
 * Keys of config.json that change nothing of what the model computes, by what they are for. transformers writes dozens of them, whichever
 * version saved the file; a key that is neither here nor read by config.ts is refused (`Fields.rest`).
 */
const HARMLESS: readonly string[] = [
  // What the files are and who wrote them.
  ...["architectures", "auto_map", "model_type", "transformers_version", "tokenizer_class", "name_or_path"],
  ...["torch_dtype", "dtype", "use_bfloat16", "torchscript", "tf_legacy_loss"],
  // Initial values and losses of training, and what keeps its memory small.
  ...["layer_scale_init_value", "classifier_dropout", "gradient_checkpointing", "use_gradient_checkpointing", "use_mask_token"],
  ...["loss_type", "loss_reduction", "label_smoothing", "router_aux_loss_coef", "freeze_vision_tower"],
  // How transformers runs it: other routes to the same numbers.
  ...[
    "use_cache",
    "use_flash_attn",
    "attn_implementation",
    "use_flash_attention_2",
    "return_dict",
    "pretraining_tp",
    "chunk_size_feed_forward",
  ],
  ...["output_hidden_states", "output_attentions", "output_scores", "return_dict_in_generate", "is_encoder_decoder", "is_decoder"],
  ...["add_cross_attention", "tie_encoder_decoder", "remove_invalid_values", "keys_to_ignore_at_inference"],
  // How text is generated: the engine's own options say so (MODEL.md §7).
  ...["max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature"],
  ...["top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"],
  ...["num_return_sequences", "bad_words_ids", "prefix", "suppress_tokens", "begin_suppress_tokens", "exponential_decay_length_penalty"],
  // Heads for classification, which this model does not have.
  ...["id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params"],
  // Which token stands for a picture is seen in the tokenizer too.
  ...["image_token_index"],
  // The outer hidden_size repeats llm_config's; whether the head is tied is decided by the tensors that are there.
  ...["tie_word_embeddings"],
];

/** Kinds of keys: private ones (transformers never acts on `_name_or_path` and its like), ids of tokens, dropout, initial values. */
const HARMLESS_KINDS = /^_|_token_ids?$|dropout(_prob|_rate)?$|^drop_path_rate$|^initializer_|^(training|wandb|unsloth|swift)_/;

/** What InternVL3's vision_config carries of a mixture of experts, which it says it does not use (use_moe, read in config.ts). */
const UNUSED_EXPERTS: readonly string[] = [
  ...["capacity_factor", "eval_capacity_factor", "laux_allreduce", "moe_coeff_ratio", "moe_intermediate_size", "moe_output_scale"],
  ...["noisy_gate_policy", "num_experts", "num_routed_experts", "num_shared_experts", "shared_expert_intermediate_size"],
  ...["use_residual", "use_rts", "use_weighted_residual"],
];

/** Whether a key of a configuration changes nothing that is computed. */
export const isHarmless = (key: string): boolean => HARMLESS.includes(key) || HARMLESS_KINDS.test(key);

/** The same for `vision_config`, where InternVL3 also has sizes of experts that it does not use. */
export const isHarmlessInVision = (key: string): boolean => isHarmless(key) || UNUSED_EXPERTS.includes(key);
