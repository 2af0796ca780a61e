"""Train a small collection in a process of its own.

The command line holds the collection's folder, the name of the run, and the trainer's arguments as JSON."""

import json
import sys
from pathlib import Path

import torch

from trove_nb import run_rank
from trove_nb.testing import SmallCollection


def main():
    trainer = SmallCollection(sys.argv[1]).trainer(sys.argv[2], **json.loads(sys.argv[3]))
    trainer.train()
    if trainer.is_world_process_zero():
        torch.save(trainer.model.state_dict(), Path(trainer.args.output_dir) / 'weights.pt')


if __name__ == '__main__':
    run_rank(main, Path(sys.argv[1]) / sys.argv[2])
