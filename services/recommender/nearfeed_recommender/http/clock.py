"""Times that a client may send."""

from http import HTTPStatus

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.http.context import ApiContext
from nearfeed_recommender.http.problems import FieldError, FieldFault


def require_not_ahead(context: ApiContext, field: str, moment: int) -> None:
    """Raises FieldError for a time further ahead than clocks may differ."""
    minutes = context.settings.clock_skew_minutes
    if moment > now_micros() + minutes * 60_000_000:
        message = f"lies more than {minutes:g} minutes ahead"
        raise FieldError(HTTPStatus.UNPROCESSABLE_ENTITY, [FieldFault(field=field, message=message)])
