"""Pictures: the plots of the chapters, and a widget for a live notebook.

Here lives whatever draws with matplotlib or ipywidgets. Nothing here trains, scores or decides: a
function takes numbers and an axis.
"""
