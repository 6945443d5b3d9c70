"""The choices that users have in how times are read; nothing is imported that takes time."""

from typing import Literal

DateOrder = Literal["day-first", "month-first"]  # of dates such as 01/02/2020
