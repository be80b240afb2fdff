"""`/docs`: Swagger UI over the API's description: own files, and a policy that fits them."""

import base64
import hashlib
import re

from fastapi import APIRouter, Response
from fastapi.openapi.docs import get_swagger_ui_html

from nearfeed_ui.headers import HEADERS, policy

_FILES = "/page/swagger-ui"
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def make_router(title: str, openapi_url: str) -> APIRouter:
    """The route `/docs`. Swagger UI's validator, a service of another host, is switched off."""
    router = APIRouter(include_in_schema=False)
    body = get_swagger_ui_html(
        title=title,
        openapi_url=openapi_url,
        swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{_FILES}/swagger-ui.css",
        swagger_favicon_url="/page/icon.svg",
        swagger_ui_parameters={"validatorUrl": None},
    ).body
    headers = {**HEADERS, "Content-Security-Policy": _policy(bytes(body))}

    @router.get("/docs")
    def docs() -> Response:
        return Response(body, media_type="text/html; charset=utf-8", headers=headers)

    return router


def _policy(body: bytes) -> str:
    """Beside the page's: the script in `body`, known by its digest, and the styles that Swagger UI makes."""
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(body)]
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    return policy(scripts=scripts, styles="'self' 'unsafe-inline'")
