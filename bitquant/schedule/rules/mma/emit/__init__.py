# SPDX-License-Identifier: Apache-2.0
"""What the mma.sync kernel consists of; each part emits TIRx statements from the geometry and a `Context`."""
