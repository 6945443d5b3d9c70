"""Reports: results as tables at the terminal, plots, files and one HTML page."""

from ._alphabet_page import write_page as write_page
from ._answer_text import answer_facts as answer_facts
from ._answer_text import print_answer as print_answer
from ._forecast_figure import forecast_figure as forecast_figure
from ._forecast_figure import save_figure as save_figure
from ._influence_figure import influence_figure as influence_figure
from ._lanes_figure import lanes_figure as lanes_figure
from ._model_text import model_facts as model_facts
from ._model_text import print_model as print_model
from ._network_figures import figure as figure
from ._network_tables import print_answers as print_answers
from ._network_tables import table as table
from ._result_files import write as write
from ._trace_figure import trace_figure as trace_figure
from ._trace_text import print_trace as print_trace
from ._trained_page import write_trained_page as write_trained_page
from ._trained_text import facts as facts
from ._trained_text import plan_facts as plan_facts
from ._trained_text import print_plan as print_plan
from ._trained_text import print_scores as print_scores
from ._trained_text import print_summary as print_summary
from ._trained_text import print_table as print_table
from ._trained_text import write_table as write_table

__all__ = [
    "answer_facts",
    "facts",
    "figure",
    "forecast_figure",
    "influence_figure",
    "lanes_figure",
    "model_facts",
    "plan_facts",
    "print_answer",
    "print_answers",
    "print_model",
    "print_plan",
    "print_scores",
    "print_summary",
    "print_table",
    "print_trace",
    "save_figure",
    "table",
    "trace_figure",
    "write",
    "write_page",
    "write_table",
    "write_trained_page",
]
