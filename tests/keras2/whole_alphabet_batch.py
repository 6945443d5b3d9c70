"""Network 4 of the alphabet as a script of 2016: the whole data set, in order, in every batch.

Only the import lines differ from what one typed for Keras 2. ``EPOCHS`` shortens the run.
"""

import os

import numpy
from keras.utils import pad_sequences, to_categorical

from legato import Sequential
from legato.layers import LSTM, Dense

numpy.random.seed(7)
epochs = int(os.environ.get("EPOCHS", "5000"))

letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
number_of = {letter: number for number, letter in enumerate(letters)}
letter_of = dict(enumerate(letters))

length = 1
patterns = []
answers = []
for i in range(len(letters) - length):
    before = letters[i : i + length]
    after = letters[i + length]
    patterns.append([number_of[letter] for letter in before])
    answers.append(number_of[after])
    print(before, "->", after)

X = pad_sequences(patterns, maxlen=length, dtype="float32")
X = numpy.reshape(X, (X.shape[0], length, 1))
X = X / float(len(letters))
y = to_categorical(answers)

model = Sequential()
model.add(LSTM(16, input_shape=(X.shape[1], X.shape[2])))
model.add(Dense(y.shape[1], activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(X, y, epochs=epochs, batch_size=len(patterns), verbose=2, shuffle=False)

scores = model.evaluate(X, y, verbose=0)
print("Model Accuracy: %.2f%%" % (scores[1] * 100))

for pattern in patterns:
    x = numpy.reshape(pattern, (1, len(pattern), 1))
    x = x / float(len(letters))
    prediction = model.predict(x, verbose=0)
    index = numpy.argmax(prediction)
    print([letter_of[value] for value in pattern], "->", letter_of[index])

print("Random patterns:")
for _ in range(20):
    chosen = numpy.random.randint(len(patterns))
    pattern = patterns[chosen]
    x = numpy.reshape(pattern, (1, len(pattern), 1))
    x = x / float(len(letters))
    prediction = model.predict(x, verbose=0)
    index = numpy.argmax(prediction)
    print([letter_of[value] for value in pattern], "->", letter_of[index])
