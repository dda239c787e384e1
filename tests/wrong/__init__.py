"""Wrong solutions that students write, one module for each module of checks."""
