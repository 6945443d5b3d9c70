"""Network 6 of the alphabet as a script of 2016: runs of one to five letters, padded on the left.

Only the import lines differ from what one typed for Keras 2. ``EPOCHS`` shortens the run.
"""

import os

import numpy
from keras.utils import pad_sequences, to_categorical

from legato import Sequential
from legato.layers import LSTM, Dense

numpy.random.seed(7)
epochs = int(os.environ.get("EPOCHS", "500"))

letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
number_of = {letter: number for number, letter in enumerate(letters)}
letter_of = dict(enumerate(letters))

inputs = 1000
longest = 5
patterns = []
answers = []
for _ in range(inputs):
    start = numpy.random.randint(len(letters) - 2)
    end = numpy.random.randint(start, min(start + longest, len(letters) - 1))
    before = letters[start : end + 1]
    after = letters[end + 1]
    patterns.append([number_of[letter] for letter in before])
    answers.append(number_of[after])
    print(before, "->", after)

X = pad_sequences(patterns, maxlen=longest, dtype="float32")
X = numpy.reshape(X, (X.shape[0], longest, 1))
X = X / float(len(letters))
y = to_categorical(answers)

batch_size = 1
model = Sequential()
model.add(LSTM(32, input_shape=(X.shape[1], 1)))
model.add(Dense(y.shape[1], activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(X, y, epochs=epochs, batch_size=batch_size, verbose=2)

scores = model.evaluate(X, y, verbose=0)
print("Model Accuracy: %.2f%%" % (scores[1] * 100))

for _ in range(20):
    chosen = numpy.random.randint(len(patterns))
    pattern = patterns[chosen]
    x = pad_sequences([pattern], maxlen=longest, dtype="float32")
    x = numpy.reshape(x, (1, longest, 1))
    x = x / float(len(letters))
    prediction = model.predict(x, verbose=0)
    index = numpy.argmax(prediction)
    print([letter_of[value] for value in pattern], "->", letter_of[index])
