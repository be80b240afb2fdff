"""`/` and the files behind it, with a Content-Security-Policy that lets nothing else run or be asked."""

from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request, Response

from nearfeed_recommender.page.files import INDEX, PageFile, page_files

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ]
)
_HEADERS = {
    # A browser asks each time, and is told that nothing has changed: an upgrade never mixes modules.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_router() -> APIRouter:
    """Routes of the page, its files read now."""
    router = APIRouter(include_in_schema=False)
    found = page_files()

    @router.get("/")
    def index(request: Request) -> Response:
        return _sent(request, found[INDEX])

    @router.get("/page/{path:path}")
    def file(request: Request, path: str) -> Response:
        if path not in found:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"The page has no file {path!r}.")
        return _sent(request, found[path])

    return router


def _sent(request: Request, file: PageFile) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    known = request.headers.get("if-none-match", "")
    if file.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)
