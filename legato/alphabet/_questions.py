"""The questions by name, and their answers one after the other."""

import time
from collections.abc import Callable, Iterator, Sequence

import legato
from legato.alphabet._batch_question import BATCHES
from legato.alphabet._experiment import Experiment
from legato.alphabet._other_task_questions import ELSEWHERE
from legato.alphabet._question_types import Answer, Question
from legato.alphabet._run_length_question import LENGTHS
from legato.alphabet._state_questions import MEMORIES
from legato.alphabet._window_questions import WINDOWS

QUESTIONS: tuple[Question, ...] = (*WINDOWS, *BATCHES, *MEMORIES, *LENGTHS, *ELSEWHERE)


def find_questions(names: Sequence[str]) -> list[Question]:
    """The questions of these names, in their own order; all if none is named.

    Raises:
        legato.InputError: a name that is none of them.
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
    tell: Callable[[str], None] = lambda what: None,
) -> Iterator[Answer]:
    """Find out each in turn.

    Args:
        questions: some of ``QUESTIONS``.
        quick: with fewer seeds and settings; the answers say with how many.
        tell: called with what is being tried.
    """
    for question in questions:
        began = time.perf_counter()
        found = question.experiment(Experiment(quick, tell))
        yield Answer(question, found, quick, time.perf_counter() - began)
