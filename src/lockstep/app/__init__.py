"""A page in the browser to play with trained models: `lockstep app`.

What does the work (`draw`, `verdict`, `nearest`) knows nothing of the page; `page` and `server`
alone import Gradio and uvicorn.
"""
