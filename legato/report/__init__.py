"""Results → tables, pictures and files."""

from legato.report._answers import answer_facts as answer_facts
from legato.report._answers import print_answer as print_answer
from legato.report._carried import print_trace as print_trace
from legato.report._figures import figure as figure
from legato.report._files import write as write
from legato.report._forecasts import forecast_figure as forecast_figure
from legato.report._forecasts import save_figure as save_figure
from legato.report._influences import influence_figure as influence_figure
from legato.report._lanes import lanes_figure as lanes_figure
from legato.report._models import model_facts as model_facts
from legato.report._models import print_model as print_model
from legato.report._own import facts as facts
from legato.report._own import plan_facts as plan_facts
from legato.report._own import print_plan as print_plan
from legato.report._own import print_scores as print_scores
from legato.report._own import print_summary as print_summary
from legato.report._own import print_table as print_table
from legato.report._own import write_table as write_table
from legato.report._page import write_page as write_page
from legato.report._tables import print_answers as print_answers
from legato.report._tables import table as table
from legato.report._traces import trace_figure as trace_figure

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
