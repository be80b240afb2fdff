"""`/` and the files behind it, with a Content-Security-Policy that lets nothing else run or be asked."""

from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request, Response

from nearfeed_ui.files import INDEX, PageFile, page_files
from nearfeed_ui.headers import HEADERS


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
    headers = {**HEADERS, "ETag": file.etag}
    known = request.headers.get("if-none-match", "")
    if file.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)
