"""How frames are brought onto the reference. Today they arrive warped (``warp.method = "none"``)."""
