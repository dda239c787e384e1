"""Many runs as the paper's Tables 1 to 10, measured beside printed (`mintad report`)."""
