"""Six small LSTM networks that learn the alphabet: given a letter, predict the next.

Letters are the integers 0–25 divided by 26, targets are one-hot. Each network is one LSTM and a
softmax; they differ in how the alphabet is cut into samples, and in where the recurrent state is
carried: not at all (1–4, 6) or from letter to letter (5). Only legato's public names are used, as
in a user's own code. ``train(find(["stateful"])[0])`` trains one and predicts the next letters.

The problem, the settings and the published figures come from a tutorial of 2016 (J. Brownlee,
*Understanding Stateful LSTM Recurrent Neural Networks in Python with Keras*), one run each. Its
claims and its open questions are ``QUESTIONS``, each an experiment over many seeds.
"""

from legato.alphabet._inspection import Look as Look
from legato.alphabet._inspection import look as look
from legato.alphabet._letter_predictions import answers as answers
from legato.alphabet._letter_predictions import (
    next_letter_probabilities as next_letter_probabilities,
)
from legato.alphabet._letter_predictions import recite as recite
from legato.alphabet._networks import LETTERS as LETTERS
from legato.alphabet._networks import NETWORKS as NETWORKS
from legato.alphabet._networks import Network as Network
from legato.alphabet._networks import Samples as Samples
from legato.alphabet._networks import find as find
from legato.alphabet._networks import letter_after as letter_after
from legato.alphabet._networks import random_runs as random_runs
from legato.alphabet._question_types import Answer as Answer
from legato.alphabet._question_types import Found as Found
from legato.alphabet._question_types import Group as Group
from legato.alphabet._question_types import Question as Question
from legato.alphabet._questions import QUESTIONS as QUESTIONS
from legato.alphabet._questions import answer as answer
from legato.alphabet._questions import find_questions as find_questions
from legato.alphabet._training import Outcome as Outcome
from legato.alphabet._training import plant as plant
from legato.alphabet._training import train as train
from legato.alphabet._training import train_all as train_all
