"""What the decode kernel consists of; each part emits TIRx statements from the geometry and a `Context`."""
