"""Images with a sentence each, rendered or brought in.

A collected folder has `images/*.png`, `train_info.json` and `test.json` (see
`lockstep.data.captions`), and `annotations.json` (see `lockstep.data.annotations`) if it was
rendered.
"""
