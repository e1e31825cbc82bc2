"""Where maps go. `open_sink` is the one way in."""
