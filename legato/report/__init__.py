"""Reports: results as tables at the terminal, plots, files and one HTML page.

The names are listed in ``__init__.pyi``; the module that defines one is loaded when it is first
used, so that a command that prints a table loads neither matplotlib nor Jinja2.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
