"""`rayhpc top`: the live views on a terminal, with Textual.

    tables   each view as columns of plain text, and how it is sorted
    grid     a table that redraws the cells that have changed, and no others
    screen   the application: header, views, keys

Imported only when `rayhpc top` is called: Textual is the extra `[top]`.
"""
