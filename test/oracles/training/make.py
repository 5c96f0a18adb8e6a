"""Ten training steps of each family, in double precision, by PyTorch. Needs: pip install torch numpy

    python test/oracles/training/make.py       writes steps.json beside this file

The transformer below is written from the papers and shares no code with Hugging Face's or with models/transformer.ts.
Its initial weights and the ids come from a linear congruential generator, which any language reproduces exactly.
Gradients are PyTorch's autograd, the update is torch.optim.AdamW, the clipping torch.nn.utils.clip_grad_norm_. Two
numbers are kept of every gradient before clipping, and of every weight after the last step: its norm and its inner
product with cos(1), cos(2), ...
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
HERE = Path(__file__).parent
STEPS, WARMUP, RATE, CLIP = 10, 3, 0.02, 1.0
ADAMW = {"betas": (0.9, 0.95), "eps": 1e-8}
DECAY = 0.1


V = 40
CONFIGS = {
    "olmo": {
        "model_type": "olmo",
        "vocab_size": V,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    },
    "llama": {
        "model_type": "llama",
        "vocab_size": V,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "head_dim": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    },
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": V,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 32,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    },
}


def draws(state):
    """x <- 1664525 x + 1013904223 mod 2^32 (Numerical Recipes), as numbers from -1/2 to 1/2."""
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield state / 2**32 - 0.5


def sequences():
    """Four sequences of 6 to 15 ids; each step's batch has three of them, in turns."""
    draw = draws(1)
    return [[int((next(draw) + 0.5) * V) for _ in range(length)] for length in (15, 9, 12, 6)]


def shapes(c):
    if c["model_type"] == "gpt2":
        C = c["n_embd"]
        out = {
            "transformer.wte.weight": [V, C],
            "transformer.wpe.weight": [c["n_positions"], C],
            "transformer.ln_f.weight": [C],
            "transformer.ln_f.bias": [C],
        }
        for i in range(c["n_layer"]):
            p = f"transformer.h.{i}."
            for norm in ("ln_1", "ln_2"):
                out |= {f"{p}{norm}.weight": [C], f"{p}{norm}.bias": [C]}
            for name, to, come in (
                ("attn.c_attn", 3 * C, C),
                ("attn.c_proj", C, C),
                ("mlp.c_fc", 4 * C, C),
                ("mlp.c_proj", C, 4 * C),
            ):
                out |= {f"{p}{name}.weight": [come, to], f"{p}{name}.bias": [to]}
        return out
    C, F_ = c["hidden_size"], c["intermediate_size"]
    D = c.get("head_dim", C // c["num_attention_heads"])
    Q, K = D * c["num_attention_heads"], D * c["num_key_value_heads"]
    out = {"model.embed_tokens.weight": [V, C]}
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        out |= {
            f"{p}self_attn.{n}_proj.weight": s for n, s in (("q", [Q, C]), ("k", [K, C]), ("v", [K, C]), ("o", [C, Q]))
        }
        out |= {f"{p}mlp.{n}_proj.weight": s for n, s in (("gate", [F_, C]), ("up", [F_, C]), ("down", [C, F_]))}
        if c["model_type"] == "llama":
            out |= {f"{p}input_layernorm.weight": [C], f"{p}post_attention_layernorm.weight": [C]}
    if c["model_type"] == "llama":
        out |= {"model.norm.weight": [C], "lm_head.weight": [V, C]}
    return out


def first_weights(config):
    """By name in alphabetical order, the n-th from draws(n + 1); a norm's scale around 1."""
    out = {}
    for n, (name, shape) in enumerate(sorted(shapes(config).items())):
        draw = draws(n + 1)
        values = torch.tensor([next(draw) for _ in range(math.prod(shape))]).reshape(shape)
        out[name] = (values + 1 if len(shape) == 1 and name.endswith("weight") else values).requires_grad_()
    return out


def batch(rows):
    longest = max(map(len, rows)) - 1
    inputs = torch.zeros(len(rows), longest, dtype=torch.long)
    targets = torch.full((len(rows), longest), -100)
    for i, ids in enumerate(rows):
        inputs[i, : len(ids) - 1] = torch.tensor(ids[:-1])
        targets[i, : len(ids) - 1] = torch.tensor(ids[1:])
    return inputs, targets


def rotate(x, base):
    """Rotary positions (Su et al. 2021), x (B, H, T, D): dimension i turns with i + D/2 by the angle t base^(-2i/D)."""
    T, D = x.shape[-2:]
    angle = torch.arange(T)[:, None] * base ** (-torch.arange(0, D, 2) / D)
    turned = torch.polar(torch.ones_like(angle), angle) * torch.complex(*x.chunk(2, dim=-1))
    return torch.cat([turned.real, turned.imag], dim=-1)


def attend(q, k, v):
    """Causal attention, (B, H, T, D); a key head serves the query heads next to each other."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1])
    future = torch.triu(torch.ones(scores.shape[-2:], dtype=torch.bool), 1)
    return torch.einsum("bhts,bhsd->bhtd", scores.masked_fill(future, -math.inf).softmax(-1), v)


def heads(x, n):
    return x.unflatten(-1, (n, -1)).transpose(1, 2)  # (B, H, T, D)


def rotary_family(w, c, ids):
    """LLaMA (Touvron et al. 2023); OLMo-1 (Groeneveld et al. 2024) has a layer norm without parameters instead."""
    H, G = c["num_attention_heads"], c["num_key_value_heads"]
    base = c["rope_theta"]

    def norm(x, name):
        if c["model_type"] == "olmo":
            return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return x / (x.square().mean(-1, keepdim=True) + c["rms_norm_eps"]).sqrt() * w[name]

    x = w["model.embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        y = norm(x, p + "input_layernorm.weight")
        q, k, v = (heads(y @ w[f"{p}self_attn.{n}_proj.weight"].T, h) for n, h in (("q", H), ("k", G), ("v", G)))
        mixed = attend(rotate(q, base), rotate(k, base), v).transpose(1, 2).flatten(2)
        x = x + mixed @ w[p + "self_attn.o_proj.weight"].T
        y = norm(x, p + "post_attention_layernorm.weight")
        gate, up = y @ w[p + "mlp.gate_proj.weight"].T, y @ w[p + "mlp.up_proj.weight"].T
        x = x + (gate * gate.sigmoid() * up) @ w[p + "mlp.down_proj.weight"].T
    return norm(x, "model.norm.weight") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def gpt2(w, c, ids):
    """GPT-2 (Radford et al. 2019)."""

    def norm(x, name):
        return (x - x.mean(-1, keepdim=True)) / (
            x.var(-1, unbiased=False, keepdim=True) + c["layer_norm_epsilon"]
        ).sqrt() * w[name + ".weight"] + w[name + ".bias"]

    def linear(x, name):
        return x @ w[name + ".weight"] + w[name + ".bias"]

    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][: ids.shape[1]]
    for i in range(c["n_layer"]):
        p = f"transformer.h.{i}."
        q, k, v = (heads(part, c["n_head"]) for part in linear(norm(x, p + "ln_1"), p + "attn.c_attn").chunk(3, dim=-1))
        x = x + linear(attend(q, k, v).transpose(1, 2).flatten(2), p + "attn.c_proj")
        y = linear(norm(x, p + "ln_2"), p + "mlp.c_fc")
        x = x + linear(0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3))), p + "mlp.c_proj")
    return norm(x, "transformer.ln_f") @ w["transformer.wte.weight"].T


def numbers(x):
    x = x.detach().flatten()
    return [x.norm().item(), (x @ torch.cos(torch.arange(1.0, len(x) + 1))).item()]


def rate(step):
    return RATE * ((step + 1) / WARMUP if step < WARMUP else (STEPS - step) / (STEPS - WARMUP))


def train(family):
    config = CONFIGS[family]
    weights = first_weights(config)
    forward = gpt2 if family == "gpt2" else rotary_family
    groups = [[t for t in weights.values() if (t.ndim > 1) == matrix] for matrix in (True, False)]
    optimizer = torch.optim.AdamW(
        [{"params": groups[0], "weight_decay": DECAY}, {"params": groups[1], "weight_decay": 0.0}], **ADAMW
    )
    losses, gradients = [], []
    rows = sequences()
    for step in range(STEPS):
        inputs, targets = batch([rows[(step + i) % 4] for i in range(3)])
        loss = F.cross_entropy(forward(weights, config, inputs).flatten(0, 1), targets.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        gradients.append({name: numbers(t.grad) for name, t in weights.items()})
        torch.nn.utils.clip_grad_norm_(weights.values(), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
    return {
        "config": config,
        "losses": losses,
        "gradients": gradients,
        "weights": {name: numbers(t) for name, t in weights.items()},
    }


result = {
    "made_by": f"torch {torch.__version__}",
    "steps": STEPS,
    "warmup": WARMUP,
    "rate": RATE,
    "sequences": sequences(),
    "families": {family: train(family) for family in CONFIGS},
}
(HERE / "steps.json").write_text(json.dumps(result) + "\n")
