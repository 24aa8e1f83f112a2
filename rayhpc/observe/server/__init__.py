"""`rayhpc dashboard`: one process that serves the live views to one user's browser.

    door      access control: links that work once, the cookie, hosts and origins
    feed      the latest views, and the streams that wait for changes
    pages     the application: the page, its events, and its queries
    serving   the listener, and when it ends

Imported only when `rayhpc dashboard` is called: starlette and uvicorn are the extra `[dashboard]`.
Never speaks to a cluster: the watcher that does is passed in (`launch.watcher`).
"""
