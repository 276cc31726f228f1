"""Images with a sentence each: a user's folder, or rendered scenes.

A collected folder has `images/*.png`, `train_info.json` and `test.json` (see
`lockstep.data.captions`), and `annotations.json` (see `lockstep.data.annotations`) if it was
rendered.
"""
