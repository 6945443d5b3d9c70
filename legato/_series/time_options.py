"""The choices that users have in how times and gaps are read; no import here takes time."""

from typing import Literal

DateOrder = Literal["day-first", "month-first"]  # of dates such as 01/02/2020
FillPolicy = Literal["forward", "interpolate", "zero"]  # what stands in rows that are put in
EveryRule = Literal["mean", "sum", "last"]  # what a step of resampled data is given
