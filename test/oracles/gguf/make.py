"""GGUF files that the `gguf` package writes, as llama.cpp's converter would, and what Python computes on them.
Needs: pip install torch transformers gguf sentencepiece

    python test/oracles/gguf/make.py

types.gguf, types.safetensors   a tensor of random bytes in every number format, and what gguf.quants makes of it
NAME.gguf                       the model of ../huggingface/NAME: its weights and tokenizer under llama.cpp's names; an
                                activation that is not the family's own is not in this format, and such a model not here
quantised.gguf, .safetensors    a LLaMA model in many formats with a tokenizer by SentencePiece: logits and greedy ids
                                of transformers' own GGUF loader, token ids of the sentencepiece package
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from gguf import (
    GGMLQuantizationType as T,
    GGUFWriter,
    MODEL_ARCH_NAMES,
    RopeScalingType,
    TokenType,
    get_tensor_name_map,
    quants,
)
from gguf.constants import GGML_QUANT_SIZES
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).parent
MODELS = HERE.parent / "huggingface"
SCALES = {
    T.Q4_0: [0],
    T.Q4_1: [0, 2],
    T.Q5_0: [0],
    T.Q5_1: [0, 2],
    T.Q8_0: [0],
    T.Q4_K: [0, 2],
    T.Q5_K: [0, 2],
    T.Q6_K: [208],
}
NAMES = {"gpt_neox": "gptneox", "mistral": "llama"}
TEXT = """The quick brown fox jumps over the lazy dog. A model of language reads a text token by token, and the next
token is drawn from what it has read. The cat sat on the mat and the rat sat on the cat; 1234 times in 56 days they
met again, naïve as ever, in the café of the old town. Translation maps the tokens of one vocabulary to another.
"""


def random_blocks(random, kind, shape, scale=0.02):
    """Bytes of a tensor: anything but its scales, which are finite."""
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (int(np.prod(shape)) // elements, size), dtype=np.uint8)
    for at in SCALES.get(kind, []):
        blocks[:, at : at + 2] = (random.normal(0, scale, (len(blocks), 1))).astype(np.float16).view(np.uint8)
    return blocks.reshape(*shape[:-1], -1)


def types():
    random = np.random.default_rng(1)
    writer = GGUFWriter(HERE / "types.gguf", "types")
    oracle = {}
    for kind in [T.F32, T.F16, T.BF16, *SCALES]:
        if kind in SCALES:
            data = random_blocks(random, kind, (3, 256), 1)
            oracle[kind.name] = torch.from_numpy(quants.dequantize(data, kind).reshape(3, 256).copy())
        else:
            floats = torch.from_numpy(random.normal(size=(3, 256)).astype(np.float32))
            floats = floats.to({T.F32: torch.float32, T.F16: torch.float16, T.BF16: torch.bfloat16}[kind])
            data = floats.numpy() if kind != T.BF16 else floats.view(torch.uint8).numpy()
            oracle[kind.name] = floats.float().contiguous()
        writer.add_tensor(kind.name, data, raw_dtype=kind)
    close(writer)
    save_file(oracle, HERE / "types.safetensors")


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def weights_of(directory):
    for path in sorted(directory.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                yield name, file.get_tensor(name)


def paired(weight, heads):
    """`LlamaModel.permute` of llama.cpp's converter."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def stored(name, weight, config):
    """A weight as llama.cpp's converter stores it: see the classes of convert_hf_to_gguf.py."""
    family, heads = config["model_type"], config.get("num_attention_heads", config.get("n_head"))
    if family in ("llama", "mistral", "olmo") and ("q_proj" in name or "k_proj" in name):
        return paired(weight, heads if "q_proj" in name else config["num_key_value_heads"])
    if family == "gpt_neox" and "query_key_value" in name:
        parts = weight.reshape(heads, 3, -1, *weight.shape[1:])
        return torch.cat([parts[:, i].reshape(-1, *weight.shape[1:]) for i in range(3)])
    if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return weight.T
    return weight


def add_config(writer, config):
    get = config.get
    rope = get("rope_parameters") or {}
    heads = get("num_attention_heads", get("n_head"))
    width = get("hidden_size", get("n_embd"))
    head = get("head_dim") or width // heads
    writer.add_context_length(get("max_position_embeddings", get("n_positions")))
    writer.add_embedding_length(width)
    writer.add_block_count(get("num_hidden_layers", get("n_layer")))
    writer.add_feed_forward_length(get("intermediate_size") or 4 * width)
    writer.add_head_count(heads)
    if config["model_type"] == "gpt2":
        return writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    theta = rope.get("rope_theta", get("rope_theta", get("rotary_emb_base", 10000.0)))
    writer.add_rope_freq_base(theta)
    if config["model_type"] == "gpt_neox":
        writer.add_rope_dimension_count(int(rope.get("partial_rotary_factor", get("rotary_pct", 1.0)) * head))
        writer.add_parallel_residual(get("use_parallel_residual", True))
        return writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_vocab_size(config["vocab_size"])
    if get("head_dim"):
        writer.add_key_length(head)
        writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    if config["model_type"] == "olmo":
        writer.add_layer_norm_eps(1e-5)
        if get("clip_qkv") is not None:
            writer.add_clamp_kqv(config["clip_qkv"])
    else:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if get("sliding_window") and get("use_sliding_window", True):
        writer.add_sliding_window(config["sliding_window"])
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "llama3":
        context = rope["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(context)
        speeds = 1.0 / (theta ** (torch.arange(0, head, 2, dtype=torch.float32) / head))
        turns = context * speeds / (2 * torch.pi)
        kept = ((turns - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])).clamp(0, 1)
        writer.add_tensor("rope_freqs.weight", (1 / ((1 - kept) / rope["factor"] + kept)).numpy())


def add_byte_level(writer, tokenizer):
    names = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    special = {t["content"] for t in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types([TokenType.CONTROL if name in special else TokenType.NORMAL for name in names])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])


def add_by_score(writer, tokenizer):
    """A token that merges make has minus its rank as its score, as SentencePiece's trainer gives them."""
    names = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    ranks = {"".join(m.split(" ") if isinstance(m, str) else m): i for i, m in enumerate(tokenizer["model"]["merges"])}
    kinds = {"<unk>": TokenType.UNKNOWN, "<s>": TokenType.CONTROL, "</s>": TokenType.CONTROL}
    writer.add_tokenizer_model("llama")
    writer.add_token_list(names)
    writer.add_token_scores([-float(ranks.get(name, len(names))) for name in names])
    writer.add_token_types(
        [TokenType.BYTE if name.startswith("<0x") else kinds.get(name, TokenType.NORMAL) for name in names]
    )
    writer.add_unk_token_id(0)


def model(name):
    config = json.loads((MODELS / name / "config.json").read_text())
    tokenizer = json.loads((MODELS / name / "tokenizer.json").read_text())
    roles = json.loads((MODELS / name / "tokenizer_config.json").read_text())
    arch = NAMES.get(config["model_type"], config["model_type"])
    writer = GGUFWriter(HERE / f"{name}.gguf", arch)
    add_config(writer, config)
    (add_by_score if tokenizer["model"].get("byte_fallback") else add_byte_level)(writer, tokenizer)
    ids = {**tokenizer["model"]["vocab"], **{t["content"]: t["id"] for t in tokenizer["added_tokens"]}}
    for role in ("bos", "eos", "pad"):
        token = roles.get(f"{role}_token")
        if token is not None:
            getattr(writer, f"add_{role}_token_id")(ids[token if isinstance(token, str) else token["content"]])
    number = next(key for key, value in MODEL_ARCH_NAMES.items() if value == arch)
    names = get_tensor_name_map(number, config.get("num_hidden_layers", config.get("n_layer")))
    for hf, weight in weights_of(MODELS / name):
        weight = stored(hf, weight, config).contiguous()
        kind = {torch.float32: T.F32, torch.float16: T.F16, torch.bfloat16: T.BF16}[weight.dtype]
        data = weight.view(torch.uint8).numpy() if kind == T.BF16 else weight.numpy()
        writer.add_tensor(names.get_name(hf, try_suffixes=(".weight", ".bias")), data, raw_dtype=kind)
    close(writer)


def quantised():
    random = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text").write_text(TEXT)
        sentencepiece.SentencePieceTrainer.train(
            input=f"{folder}/text",
            model_prefix=f"{folder}/spm",
            model_type="bpe",
            vocab_size=400,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            split_digits=True,
            minloglevel=2,
        )
        spm = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/spm.model")
    V, C, F, H, G, L = spm.get_piece_size(), 32, 256, 4, 2, 2
    path = HERE / "quantised.gguf"
    writer = GGUFWriter(path, "llama")
    add_config(
        writer,
        {
            "model_type": "llama",
            "vocab_size": V,
            "hidden_size": C,
            "intermediate_size": F,
            "num_hidden_layers": L,
            "num_attention_heads": H,
            "num_key_value_heads": G,
            "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
        },
    )
    writer.add_tokenizer_model("llama")
    pieces = range(V)
    writer.add_token_list([spm.id_to_piece(i) for i in pieces])
    writer.add_token_scores([spm.get_score(i) for i in pieces])
    writer.add_token_types(
        [
            (
                TokenType.UNKNOWN
                if spm.is_unknown(i)
                else TokenType.CONTROL if spm.is_control(i) else TokenType.BYTE if spm.is_byte(i) else TokenType.NORMAL
            )
            for i in pieces
        ]
    )
    writer.add_bos_token_id(spm.bos_id())
    writer.add_eos_token_id(spm.eos_id())
    writer.add_unk_token_id(spm.unk_id())

    def add(name, kind, *shape, scale=0.02):
        writer.add_tensor(name, random_blocks(random, kind, shape, scale), raw_dtype=kind)

    add("token_embd.weight", T.Q8_0, V, C)
    add("output.weight", T.Q5_1, V, C)
    writer.add_tensor("output_norm.weight", random.normal(1, 0.3, C).astype(np.float32))
    for i in range(L):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{norm}.weight", random.normal(1, 0.3, C).astype(np.float32))
        add(f"blk.{i}.attn_q.weight", T.Q4_1, H * C // H, C)
        add(f"blk.{i}.attn_k.weight", T.Q4_0, G * C // H, C)
        add(f"blk.{i}.attn_v.weight", T.Q5_0, G * C // H, C)
        add(f"blk.{i}.attn_output.weight", T.Q5_1, C, C)
        add(f"blk.{i}.ffn_gate.weight", T.Q4_0, F, C)
        add(f"blk.{i}.ffn_up.weight", T.Q5_0, F, C)
        add(f"blk.{i}.ffn_down.weight", [T.Q4_K, T.Q6_K][i], C, F, scale=0.001)
    close(writer)
    text = "The quick naïve fox 北京, 17 cats in the\n\n  mat"
    ids = [spm.bos_id(), *spm.encode(text)][:24]
    loaded = AutoModelForCausalLM.from_pretrained(HERE, gguf_file=path.name, dtype=torch.float32).double().eval()
    with torch.no_grad():
        logits = loaded(torch.tensor([ids])).logits[0]
        greedy = loaded.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids)),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )[0, len(ids) :]
    save_file(
        {
            "ids": torch.tensor(ids, dtype=torch.int32),
            "logits": logits.float().contiguous(),
            "greedy": greedy.int(),
            "encoded": torch.tensor(spm.encode(text), dtype=torch.int32),
        },
        HERE / "quantised.safetensors",
        {"text": text},
    )


types()
quantised()
for directory in sorted(MODELS.iterdir()):
    fields = json.loads((directory / "config.json").read_text())
    own = {"gpt2": "gelu_new", "gpt_neox": "gelu"}.get(fields["model_type"], "silu")
    if fields.get("activation_function", fields.get("hidden_act")) == own:
        model(directory.name)
