"""Where frames come from. `open_source` is the one way in."""
