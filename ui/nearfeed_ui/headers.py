"""What is sent with the page's files: nothing else may run, be asked, or frame them."""


def policy(*, scripts: str = "'self'", styles: str = "'self'", more: tuple[str, ...] = ()) -> str:
    """A Content-Security-Policy by its sources of scripts and styles; nobody but this service is asked."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {scripts}",
            f"style-src {styles}",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            *more,
        ]
    )


HEADERS = {
    # A browser asks each time, and is told that nothing has changed: an upgrade never mixes modules.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": policy(more=("require-trusted-types-for 'script'",)),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
