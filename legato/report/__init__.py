"""Reports: results as tables at the terminal, plots, files and one HTML page."""

from legato.report._alphabet_page import write_page as write_page
from legato.report._answer_text import answer_facts as answer_facts
from legato.report._answer_text import print_answer as print_answer
from legato.report._forecast_figure import forecast_figure as forecast_figure
from legato.report._forecast_figure import save_figure as save_figure
from legato.report._influence_figure import influence_figure as influence_figure
from legato.report._lanes_figure import lanes_figure as lanes_figure
from legato.report._model_text import model_facts as model_facts
from legato.report._model_text import print_model as print_model
from legato.report._network_figures import figure as figure
from legato.report._network_tables import print_answers as print_answers
from legato.report._network_tables import table as table
from legato.report._result_files import write as write
from legato.report._trace_figure import trace_figure as trace_figure
from legato.report._trace_text import print_trace as print_trace
from legato.report._trained_text import facts as facts
from legato.report._trained_text import plan_facts as plan_facts
from legato.report._trained_text import print_plan as print_plan
from legato.report._trained_text import print_scores as print_scores
from legato.report._trained_text import print_summary as print_summary
from legato.report._trained_text import print_table as print_table
from legato.report._trained_text import write_table as write_table

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
]
