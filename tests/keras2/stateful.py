"""Network 5 of the alphabet as a script of 2016: state carried from letter to letter.

Only the import lines differ from what one typed for Keras 2: a batch size fixed with the input
shape, one call of ``fit`` an epoch, the state put back by hand. ``EPOCHS`` shortens the run.
"""

import os

import numpy
from keras.utils import to_categorical

from legato import Sequential
from legato.layers import LSTM, Dense

numpy.random.seed(7)
epochs = int(os.environ.get("EPOCHS", "300"))

letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
number_of = {letter: number for number, letter in enumerate(letters)}
letter_of = dict(enumerate(letters))

patterns = []
answers = []
for i in range(len(letters) - 1):
    patterns.append([number_of[letters[i]]])
    answers.append(number_of[letters[i + 1]])
    print(letters[i], "->", letters[i + 1])

X = numpy.reshape(patterns, (len(patterns), 1, 1))
X = X / float(len(letters))
y = to_categorical(answers)

batch_size = 1
model = Sequential()
model.add(LSTM(50, batch_input_shape=(batch_size, X.shape[1], X.shape[2]), stateful=True))
model.add(Dense(y.shape[1], activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
for _ in range(epochs):
    model.fit(X, y, epochs=1, batch_size=batch_size, verbose=2, shuffle=False)
    model.reset_states()

scores = model.evaluate(X, y, batch_size=batch_size, verbose=0)
model.reset_states()
print("Model Accuracy: %.2f%%" % (scores[1] * 100))

# from A on, each answer is the next question
seed = [number_of[letters[0]]]
for _ in range(len(letters) - 1):
    x = numpy.reshape(seed, (1, len(seed), 1))
    x = x / float(len(letters))
    prediction = model.predict(x, verbose=0)
    index = numpy.argmax(prediction)
    print(letter_of[seed[0]], "->", letter_of[index])
    seed = [index]
model.reset_states()

# and from a letter in the middle, with nothing remembered
start = "K"
seed = [number_of[start]]
print("New start:", start)
for _ in range(5):
    x = numpy.reshape(seed, (1, len(seed), 1))
    x = x / float(len(letters))
    prediction = model.predict(x, verbose=0)
    index = numpy.argmax(prediction)
    print(letter_of[seed[0]], "->", letter_of[index])
    seed = [index]
model.reset_states()
