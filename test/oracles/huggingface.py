"""Hugging Face's transformers (PyTorch) as the oracle of model directories. Needs: pip install torch transformers

    python test/oracles/huggingface.py make [NAME ...]    writes huggingface/NAME beside this file: small random models
                                                          and their tokenizers as these libraries save them, in
                                                          oracle.safetensors what they compute, and in steps.json ten
                                                          training steps
    python test/oracles/huggingface.py again NAME ...     only computes again, on the directories as they are
    python test/oracles/huggingface.py read DIR < ids     loads any model directory and prints what it computes for
                                                          JSON ids, as JSON; called by
                                                          test/models/node/checkpoint-huggingface.test.ts

What is computed is in double precision throughout, where transformers insists on single as well.
"""

import contextlib
import json
import sys
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    OlmoConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    __version__,
)

TEXT = [
    "the cat sat on the mat and the rat sat on the cat",
    "a model of language reads a text token by token",
    "naïve café, 北京",
]


def byte_level():
    """GPT-2's kind: one special token for everything."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=280,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def byte_fallback():
    """LLaMA's kind: characters, a space before the text, bytes for characters without a token."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{b:02X}>" for b in range(256)),
        "▁",
        *"abcdeglmnorstuxyk",
        "▁t",
        "he",
        "▁the",
        "at",
        "▁a",
    ]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("a", "t"), ("▁", "a")]
    pieces += ["h"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={p: i for i, p in enumerate(pieces)},
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@contextlib.contextmanager
def double():
    """Single precision is double here: transformers computes norms, softmax and positions in torch.float32."""
    single = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = single


def load(directory):
    """A model directory in double precision, the constants of its positions included."""
    stored = AutoModelForCausalLM.from_pretrained(directory)
    with double():
        model = AutoModelForCausalLM.from_config(stored.config, dtype=torch.float64).eval()
    model.load_state_dict(stored.double().state_dict())
    model.generation_config = stored.generation_config
    return model


def computed(model, ids):
    """Logits (T, V) and the 8 likeliest next ids one by one."""
    with torch.no_grad(), double():
        logits = model(torch.tensor([ids])).logits[0]
        greedy = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids)),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )[0, len(ids) :]
    return logits, greedy


STEPS, WARMUP, RATE, CLIP, DECAY = 10, 3, 0.02, 1.0, 0.1
SEQUENCES = [[(7 * i * i + 5 * n + 3) % 280 for i in range(length)] for n, length in enumerate((15, 9, 12, 6))]


def numbers(x):
    """The norm of a tensor and its inner product with cos(1), cos(2), ..."""
    x = x.detach().flatten()
    return [x.norm().item(), (x @ torch.cos(torch.arange(1.0, len(x) + 1, dtype=torch.float64))).item()]


def saved_name(model, name):
    """A parameter's name in a checkpoint: transformers 5 calls GPT-NeoX's head another name than it saves."""
    return "embed_out.weight" if model.config.model_type == "gpt_neox" and name == "lm_head.weight" else name


def steps(model):
    """Losses and gradients of ten AdamW steps on padded batches, and the weights after them, as in training/make.py."""
    weights = {saved_name(model, name): t for name, t in model.named_parameters()}
    groups = [[t for t in weights.values() if (t.ndim > 1) == matrix] for matrix in (True, False)]
    optimizer = torch.optim.AdamW(
        [{"params": groups[0], "weight_decay": DECAY}, {"params": groups[1], "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    losses, gradients = [], None
    for step in range(STEPS):
        rows = [SEQUENCES[(step + i) % 4] for i in range(3)]
        longest = max(map(len, rows)) - 1
        inputs, targets = torch.zeros(3, longest, dtype=torch.long), torch.full((3, longest), -100)
        for i, ids in enumerate(rows):
            inputs[i, : len(ids) - 1], targets[i, : len(ids) - 1] = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
        with double():
            loss = torch.nn.functional.cross_entropy(
                model(inputs).logits.flatten(0, 1), targets.flatten(), ignore_index=-100
            )
            optimizer.zero_grad()
            loss.backward()
        losses.append(loss.item())
        gradients = gradients or {name: numbers(t.grad) for name, t in weights.items()}
        torch.nn.utils.clip_grad_norm_(weights.values(), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = RATE * ((step + 1) / WARMUP if step < WARMUP else (STEPS - step) / (STEPS - WARMUP))
        optimizer.step()
    return {
        "rate": RATE,
        "warmup": WARMUP,
        "sequences": SEQUENCES,
        "losses": losses,
        "gradients": gradients,
        "weights": {name: numbers(t) for name, t in weights.items()},
    }


SPREAD = {"initializer_range": 0.3}  # logits of order one
BYTES = {"vocab_size": 288, "bos_token_id": 0, "eos_token_id": 0, **SPREAD}
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}
ONE = {"num_hidden_layers": 1}
GPT2 = {"n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 4}
NEOX = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
WHOLE = "1GB"

# A configuration, the dtype of what is saved, the size of a shard, the tokenizer.
CASES = {
    "gpt2": (GPT2Config(**BYTES, **GPT2), F32, WHOLE, byte_level),
    "olmo": (OlmoConfig(**BYTES, **SIZES, tie_word_embeddings=True, pad_token_id=None), F16, WHOLE, byte_level),
    "llama": (
        LlamaConfig(
            **{**BYTES, **SIZES, "bos_token_id": 1, "eos_token_id": 2},
            head_dim=6,
            rope_theta=500000.0,
            tie_word_embeddings=False,
        ),
        BF16,
        "12KB",
        byte_fallback,
    ),
    # Heads of width 8: one pair turns at its own speed, one more slowly, two at an eighth.
    "llama3": (
        LlamaConfig(
            **{**BYTES, **SIZES, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 512},
            rope_parameters=LLAMA3,
            tie_word_embeddings=True,
        ),
        F32,
        WHOLE,
        byte_level,
    ),
    "llama-linear": (
        LlamaConfig(
            **{**BYTES, **SIZES, **ONE},
            rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
            tie_word_embeddings=True,
        ),
        F16,
        WHOLE,
        byte_level,
    ),
    "gpt2-gelu": (GPT2Config(**BYTES, **{**GPT2, "n_layer": 1}, activation_function="gelu"), F16, WHOLE, byte_level),
    # Clipped at a value that about a third of queries, keys and values exceed.
    "olmo-clip": (
        OlmoConfig(**{**BYTES, **SIZES, **ONE}, clip_qkv=1.0, tie_word_embeddings=False, pad_token_id=None),
        F16,
        WHOLE,
        byte_level,
    ),
    "olmo2": (
        Olmo2Config(**BYTES, **SIZES, rope_theta=500000.0, tie_word_embeddings=False, pad_token_id=None),
        F16,
        WHOLE,
        byte_level,
    ),
    "mistral": (
        MistralConfig(
            **{**BYTES, **SIZES, "bos_token_id": 1, "eos_token_id": 2},
            head_dim=6,
            sliding_window=24,
            tie_word_embeddings=False,
        ),
        BF16,
        WHOLE,
        byte_fallback,
    ),
    "qwen2": (Qwen2Config(**BYTES, **SIZES, rope_theta=1000000.0, tie_word_embeddings=True), BF16, WHOLE, byte_level),
    "qwen3": (
        Qwen3Config(**BYTES, **SIZES, head_dim=8, rope_theta=1000000.0, tie_word_embeddings=True),
        BF16,
        WHOLE,
        byte_level,
    ),
    # A quarter of heads of width 16 turns.
    "gpt_neox": (
        GPTNeoXConfig(**{**BYTES, **NEOX, "hidden_size": 32, "num_attention_heads": 2}, rotary_pct=0.25),
        F16,
        "30KB",
        byte_level,
    ),
    "gpt_neox-serial": (
        GPTNeoXConfig(**{**BYTES, **NEOX, **ONE}, rotary_pct=1.0, use_parallel_residual=False, hidden_act="gelu_fast"),
        F16,
        WHOLE,
        byte_level,
    ),
}


def make(folder, names):
    for name in names or CASES:
        config, dtype, shard, tokenizer = CASES[name]
        torch.manual_seed(zlib.crc32(name.encode()))
        model, tokenizer = AutoModelForCausalLM.from_config(config), tokenizer()
        for parameter_name, parameter in model.named_parameters():
            is_bias = parameter_name.endswith("bias")
            if is_bias or "norm" in parameter_name or ".ln_" in parameter_name:
                torch.nn.init.normal_(parameter, mean=0.0 if is_bias else 1.0, std=0.3)
        model.to(dtype).save_pretrained(folder / name, max_shard_size=shard)
        tokenizer.save_pretrained(folder / name)
        oracle(folder / name)


def oracle(directory):
    """What is computed on a directory, which stays as it is."""
    text = "the cat, naïve 北京 sat\n"
    ids = AutoTokenizer.from_pretrained(directory)(text)["input_ids"]
    model = load(directory)
    logits, greedy = computed(model, ids[:16])
    single = torch.tensor(ids[:16], dtype=torch.int32), torch.tensor(ids, dtype=torch.int32)
    save_file(
        {
            "ids": single[0],
            "logits": logits.to(torch.float32).contiguous(),
            "greedy": greedy.int(),
            "encoded": single[1],
        },
        directory / "oracle.safetensors",
        {"text": text, "made_by": f"transformers {__version__}, torch {torch.__version__}"},
    )
    (directory / "steps.json").write_text(json.dumps(steps(model)) + "\n")


def read(directory):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    ids = json.load(sys.stdin)
    dtype = str(next(AutoModelForCausalLM.from_pretrained(directory).parameters()).dtype)
    model = load(directory)
    logits, greedy = computed(model, ids)
    special = {role: getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad", "unk")}
    generation = {
        key: getattr(model.generation_config, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")
    }
    json.dump(
        {
            "dtype": dtype,
            "tied": model.config.tie_word_embeddings,
            "logits": logits.flatten().tolist(),
            "greedy": greedy.tolist(),
            "text": tokenizer.decode(ids),
            "again": tokenizer(tokenizer.decode(ids), add_special_tokens=False)["input_ids"],
            "special": special,
            "generation": generation,
        },
        sys.stdout,
    )


HERE = Path(__file__).parent / "huggingface"
if sys.argv[1:2] == ["make"]:
    make(HERE, sys.argv[2:])
elif sys.argv[1:2] == ["again"]:
    for name in sys.argv[2:]:
        oracle(HERE / name)
elif len(sys.argv) == 3 and sys.argv[1] == "read":
    read(sys.argv[2])
else:
    sys.exit(__doc__)
