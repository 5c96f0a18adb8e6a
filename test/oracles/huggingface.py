"""Hugging Face's transformers (PyTorch) as the oracle of model directories. Needs: pip install torch transformers

    python test/oracles/huggingface.py make                writes huggingface/NAME beside this file: small random
                                                            models and their tokenizers as these libraries save them,
                                                            and in oracle.safetensors what they compute
    python test/oracles/huggingface.py read DIR < ids      loads any model directory and prints what it computes for
                                                            JSON ids, as JSON; test/models/checkpoint-huggingface.test.ts calls it
"""
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OlmoConfig, OlmoForCausalLM, PreTrainedTokenizerFast, __version__,
)

TEXT = ["the cat sat on the mat and the rat sat on the cat", "a model of language reads a text token by token", "naïve café, 北京"]


def byte_level():
    """GPT-2's kind: one special token for everything."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=280, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def byte_fallback():
    """LLaMA's kind: characters, a space before the text, bytes for characters without a token."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", *"abcdeglmnorstuxyk", "▁t", "he", "▁the", "at", "▁a"]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("a", "t"), ("▁", "a")]
    pieces += ["h"]
    tokenizer = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def computed(model, ids):
    """Logits (T, V) in double precision, where transformers does not insist on single, and the 8 likeliest next ids one by one."""
    model = model.double().eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
        greedy = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)[0, len(ids):]
    return logits, greedy


def make(folder):
    torch.manual_seed(0)
    spread = {"initializer_range": 0.3}  # logits of order one
    special = {"bos_token_id": 1, "eos_token_id": 2}
    cases = {
        "gpt2": (GPT2LMHeadModel(GPT2Config(vocab_size=288, n_positions=32, n_embd=16, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0, **spread)), torch.float32, "1GB", byte_level()),
        "olmo": (OlmoForCausalLM(OlmoConfig(vocab_size=288, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                            max_position_embeddings=32, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=None, **spread)), torch.float16, "1GB", byte_level()),
        "llama": (LlamaForCausalLM(LlamaConfig(vocab_size=288, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
                                               max_position_embeddings=32, rope_theta=500000.0, tie_word_embeddings=False, **special, **spread)), torch.bfloat16, "12KB", byte_fallback()),
        # Heads of width 8: one pair turns at its own speed, one more slowly, two at an eighth.
        "llama3": (LlamaForCausalLM(LlamaConfig(vocab_size=288, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512,
                                                rope_parameters={"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128},
                                                tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, **spread)), torch.float32, "1GB", byte_level()),
    }
    for name, (model, dtype, shard, tokenizer) in cases.items():
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("bias") or "norm" in parameter_name or ".ln_" in parameter_name:
                torch.nn.init.normal_(parameter, mean=0.0 if parameter_name.endswith("bias") else 1.0, std=0.3)
        model.to(dtype).save_pretrained(folder / name, max_shard_size=shard)
        tokenizer.save_pretrained(folder / name)
        text = "the cat, naïve 北京 sat\n"
        ids = tokenizer(text)["input_ids"]
        logits, greedy = computed(AutoModelForCausalLM.from_pretrained(folder / name), ids[:16])
        save_file({"ids": torch.tensor(ids[:16], dtype=torch.int32), "logits": logits.float().contiguous(), "greedy": greedy.int(), "encoded": torch.tensor(ids, dtype=torch.int32)},
                  folder / name / "oracle.safetensors", {"text": text, "made_by": f"transformers {__version__}, torch {torch.__version__}"})


def read(directory):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    ids = json.load(sys.stdin)
    dtype = str(next(model.parameters()).dtype)
    logits, greedy = computed(model, ids)
    special = {role: getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad", "unk")}
    generation = {key: getattr(model.generation_config, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    json.dump({"dtype": dtype, "tied": model.config.tie_word_embeddings, "logits": logits.flatten().tolist(), "greedy": greedy.tolist(), "text": tokenizer.decode(ids),
               "again": tokenizer(tokenizer.decode(ids), add_special_tokens=False)["input_ids"], "special": special, "generation": generation}, sys.stdout)


if sys.argv[1:] == ["make"]:
    make(Path(__file__).parent / "huggingface")
elif len(sys.argv) == 3 and sys.argv[1] == "read":
    read(sys.argv[2])
else:
    sys.exit(__doc__)
