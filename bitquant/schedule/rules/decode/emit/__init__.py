# SPDX-License-Identifier: Apache-2.0
"""What the decode kernel consists of; each part emits TIRx statements from the geometry and a `Context`."""
