# SPDX-License-Identifier: Apache-2.0
"""The CUDA C++ of a kernel as people read it: the text that TVM prints, and that is compiled, with names and comments.

What changes is the text alone. The compiler sees the same operations in the same order on the same types, and makes the
same machine code.
"""

from bitquant.source.about import About
from bitquant.source.rewrite import readable

__all__ = ["About", "readable"]
