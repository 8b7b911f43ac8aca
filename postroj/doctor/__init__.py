"""What this host needs to run guests: asked, told, and mended.

`facts` looks at the host, `requirements` is the table of what is asked, `packages` installs.
"""

from postroj.doctor.facts import Status
from postroj.doctor.packages import mend, remedy
from postroj.doctor.requirements import Requirement, Result, survey

__all__ = ["Requirement", "Result", "Status", "mend", "remedy", "survey"]
