"""Images with a sentence each: a user's folder, or the drawn stand-in for it.

A collected folder has `images/*.png`, `train_info.json`, `test.json` (see `lockstep.data.captions`), and
`annotations.json` (see `lockstep.data.annotations`) if it was drawn.
"""
