"""Right answers to the exercises, written in ways that are not the reference's; one module per notebook."""
