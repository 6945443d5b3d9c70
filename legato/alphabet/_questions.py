"""All questions, found by name and answered one after the other."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import legato
from legato.alphabet._batch_question import BATCH_QUESTIONS
from legato.alphabet._experiment import Experiment
from legato.alphabet._other_task_questions import OTHER_TASK_QUESTIONS
from legato.alphabet._question_types import Answer, Question
from legato.alphabet._run_length_question import RUN_LENGTH_QUESTIONS
from legato.alphabet._state_questions import STATE_QUESTIONS
from legato.alphabet._window_questions import WINDOW_QUESTIONS

QUESTIONS: tuple[Question, ...] = (
    *WINDOW_QUESTIONS,
    *BATCH_QUESTIONS,
    *STATE_QUESTIONS,
    *RUN_LENGTH_QUESTIONS,
    *OTHER_TASK_QUESTIONS,
)


def find_questions(names: Sequence[str]) -> list[Question]:
    """The questions with these names, in the order of ``QUESTIONS``; all if no name is given.

    Raises:
        legato.InputError: an unknown name.

    Examples:
        >>> from legato import alphabet
        >>> [question.name for question in alphabet.find_questions(["cold", "batch"])]
        ['batch', 'cold']
    """
    wanted = {name.lower() for name in names}
    unknown = [name for name in names if name.lower() not in {each.name for each in QUESTIONS}]
    if unknown:
        choices = ", ".join(each.name for each in QUESTIONS)
        raise legato.InputError(
            f"There is no question {unknown[0]!r}; they are {choices}. Name some, or none for all."
        )
    return [each for each in QUESTIONS if not wanted or each.name in wanted]


def answer(
    questions: Sequence[Question],
    quick: bool = False,
    tell: Callable[[str], None] = lambda message: None,
    executor: Any = None,
) -> Iterator[Answer]:
    """Answer questions, one after the other.

    Args:
        questions: some of ``QUESTIONS``.
        quick: use fewer seeds and settings; the answers say how many.
        tell: called with a description of each step.
        executor: trains in other processes or on other machines, as for ``legato.replicate``; the
            answers are the same. It pays on several machines: on one, threads use all cores.

    Raises:
        legato.InputError: it is no executor, or forks this process.

    Examples:
        >>> import numpy as np
        >>> from legato import alphabet
        >>> groups = (alphabet.Group("guesses", np.linspace(0, 1, 20)),)
        >>> found = alphabet.Found("holds", "Guesses average 0.5.", groups)
        >>> question = alphabet.Question("guess", "Right?", "Half.", lambda experiment: found)
        >>> (answer,) = alphabet.answer([question])
        >>> answer.found.verdict
        'holds'
    """
    for question in questions:
        began = time.perf_counter()
        found = question.experiment(Experiment(quick, tell, executor))
        yield Answer(question, found, quick, time.perf_counter() - began)
