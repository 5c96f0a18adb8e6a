"""What transformers' own GGUF loader makes of a file: logits (in double precision), greedy ids and the ids of a text.
Needs: pip install torch transformers gguf

    python test/oracles/gguf/compare.py FILE.gguf OUT.safetensors TEXT
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

path, out, text = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).double().eval()
tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
ids = tokenizer(text, add_special_tokens=False)["input_ids"]
with torch.no_grad():
    logits = model(torch.tensor([ids])).logits[0]
    greedy = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids)),
        max_new_tokens=24,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )[0, len(ids) :]
weights = {
    name: weight.float().contiguous()
    for name, weight in model.state_dict().items()
    if name.startswith("model.layers.0.")
}
save_file(
    {
        "ids": torch.tensor(ids, dtype=torch.int32),
        "logits": logits.float().contiguous(),
        "greedy": greedy.int(),
        **weights,
    },
    out,
)
