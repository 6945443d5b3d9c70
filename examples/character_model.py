"""What one learns: a text becomes a model of its characters, scored in bits, that writes on.

The text is what Python's ``help()`` says of the language. One sequence, state carried from chunk to
chunk, is asked at every character for the next. The last fifth is kept for the score. A guess among
the characters is worth log2 of their number in bits; a text is no more than the bits it costs a
model that has not seen it. Here the first characters train, in seconds; give a number of characters
and of epochs for a longer run: 400000 and 6.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

import legato

characters, epochs, seed = map(int, sys.argv[1:] or (50_000, 6, 7))
text = "\n".join(topics.values())[:characters]
seen = Counter(text)
text = "".join(
    each for each in text if seen[each] >= 50
)  # rarer ones may all be kept for the score

with tempfile.TemporaryDirectory() as folder:
    book = Path(folder) / "book.txt"
    book.write_text(text, encoding="utf-8")
    options = {"units": 128, "steps": 64, "epochs": epochs, "seed": seed, "verbose": 0}
    trained = legato.train(book, **options)

scores = trained.known["scores"]
bits = scores["model"]["cross_entropy_bits"]
print(f"{len(text):,} characters of {len(set(text))} kinds")
print(f"bits a character: {bits:.2f}, of a guess: {np.log2(len(set(text))):.2f}")
print(scores["verdict"])
print("It writes, after 'The ':")
print("The " + "".join(trained.generate(300, prompt="The ", temperature=0.7, seed=1)))
