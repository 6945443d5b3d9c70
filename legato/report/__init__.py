"""Results → tables, pictures and files."""

from legato.report._figures import figure as figure
from legato.report._files import write as write
from legato.report._tables import print_answers as print_answers
from legato.report._tables import table as table

__all__ = ["figure", "print_answers", "table", "write"]
