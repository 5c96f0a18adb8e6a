"""One step of finetuning of a model directory, as its users go on with it: transformers and accelerate, in as many
processes as the launcher starts. Needs: pip install torch transformers accelerate

    python -m torch.distributed.run --standalone --nproc_per_node 2 test/oracles/finetune.py DIR TEXT TEXT

(`accelerate launch --cpu --num_processes 2` starts one process where there is no MPI.)

Prints, as JSON, the processes, the loss of each, the largest change of a weight, and whether all have the same weights.
"""

import json
import sys

import torch
from accelerate import Accelerator
from transformers import AutoModelForCausalLM, AutoTokenizer

directory, *texts = sys.argv[1:]
accelerator = Accelerator(cpu=True)
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-2))
before = [p.detach().clone() for p in model.parameters()]
ids = tokenizer(texts[accelerator.process_index], return_tensors="pt").input_ids
loss = model(input_ids=ids, labels=ids).loss
accelerator.backward(loss)
optimizer.step()
change = max((p.detach() - q).abs().max().item() for p, q in zip(model.parameters(), before))
total = sum(p.detach().double().sum() for p in model.parameters())
losses, totals = accelerator.gather(loss.detach().reshape(1)), accelerator.gather(total.reshape(1))
if accelerator.is_main_process:
    print(
        json.dumps(
            {
                "processes": accelerator.num_processes,
                "losses": losses.tolist(),
                "change": change,
                "same": len(set(totals.tolist())) == 1,
            }
        )
    )
