"""Network 2 of the alphabet as a script of 2016: three letters as the features of one time step.

Only the import lines differ from what one typed for Keras 2. ``EPOCHS`` shortens the run.
"""

import os

import numpy
from keras.utils import to_categorical

from legato import Sequential
from legato.layers import LSTM, Dense

numpy.random.seed(7)
epochs = int(os.environ.get("EPOCHS", "500"))

letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
number_of = {letter: number for number, letter in enumerate(letters)}
letter_of = dict(enumerate(letters))

window = 3
patterns = []
answers = []
for i in range(len(letters) - window):
    before = letters[i : i + window]
    after = letters[i + window]
    patterns.append([number_of[letter] for letter in before])
    answers.append(number_of[after])
    print(before, "->", after)

# [samples, time steps, features], lists of lists all the way
X = [[[value / float(len(letters)) for value in pattern]] for pattern in patterns]
y = to_categorical(answers)

model = Sequential()
model.add(LSTM(32, input_shape=(1, window)))
model.add(Dense(y.shape[1], activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(X, y.tolist(), epochs=epochs, batch_size=1, verbose=2)

scores = model.evaluate(X, y, verbose=0)
print("Model Accuracy: %.2f%%" % (scores[1] * 100))

for pattern in patterns:
    x = numpy.reshape(pattern, (1, 1, len(pattern)))
    x = x / float(len(letters))
    prediction = model.predict(x, verbose=0)
    index = numpy.argmax(prediction)
    print([letter_of[value] for value in pattern], "->", letter_of[index])
