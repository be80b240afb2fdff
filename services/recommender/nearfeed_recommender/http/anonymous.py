"""PUT /v1/users/{user_id}/anonymous/{anonymous_id}: a reader has signed in."""

from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Response
from sqlalchemy import Connection

from nearfeed_contracts.fields import Id
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings, settle_reader
from nearfeed_recommender.http.access import Calling, Context, require
from nearfeed_recommender.identity.links import kin_of, merge_ids
from nearfeed_runtime.sql import committed

router = APIRouter(prefix="/v1/users", tags=["readers"], dependencies=[Depends(require("events"))])


@router.put(
    "/{user_id}/anonymous/{anonymous_id:path}",
    summary="Merge an anonymous id into a user",
    status_code=HTTPStatus.NO_CONTENT,
)
def put_anonymous(
    context: Context,
    caller: Calling,
    user_id: Annotated[Id, Path(description="the reader")],
    anonymous_id: Annotated[Id, Path(description="the id that they were served under")],
) -> Response:
    """In experiments both keep the arms of whichever was served first, in any order of calls."""
    if caller.reader is not None:
        raise HTTPException(
            HTTPStatus.FORBIDDEN, "A reader's token cannot tell whose the other id is; use a key."
        )
    committed(context.engine, partial(_merge, context.joining, user_id, anonymous_id))
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _merge(joining: AttributionSettings, user_id: str, anonymous_id: str, transaction: Connection) -> None:
    merge_ids(transaction, user_id, anonymous_id)
    kin = kin_of(transaction, [user_id]).get(user_id, set())
    for each in sorted(kin | {user_id, anonymous_id}):
        settle_reader(joining, transaction, each)
