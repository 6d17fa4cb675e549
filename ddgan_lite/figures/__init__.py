"""Pictures: the plots of the chapters, a widget for a live notebook, the check of its parameters.

Here lives whatever draws with matplotlib or ipywidgets, and what else only a notebook needs.
Nothing here trains, scores or decides: a function takes numbers and an axis.
"""
