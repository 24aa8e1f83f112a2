"""`rayhpc dashboard`: one process that serves the live views to one user's browser.

    door      who is let in: links that work once, the cookie, hosts and origins
    feed      what there is to show now, and who waits for news of it
    pages     the application: the page, its events, and what it asks for
    serving   the listener, and when it ends

Imported only when `rayhpc dashboard` is called: starlette and uvicorn are the extra `[dashboard]`.
Never speaks to a cluster: what looks at it is passed in (`launch.watcher`).
"""
