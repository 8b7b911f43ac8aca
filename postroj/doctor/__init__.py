"""What this host needs to run guests, and how to install what is missing.

`requirements` is the table; `facts` and `confinement` examine the host; `packages` installs.
"""

from postroj.doctor.facts import Status
from postroj.doctor.packages import mend, remedy
from postroj.doctor.requirements import (
    REQUIREMENTS,
    Requirement,
    Result,
    of_architecture,
    survey,
)

__all__ = [
    "REQUIREMENTS",
    "Requirement",
    "Result",
    "Status",
    "mend",
    "of_architecture",
    "remedy",
    "survey",
]
