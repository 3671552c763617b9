"""What operators tell you."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.schemas import tenancy as shapes
from flexai.api.schemas.common import answers
from flexai.api.views.base import View, principal_of
from flexai.jobs.presenting import stamp
from flexai.tenancy.announcements import MAX_SHOWN, visible_announcements


class AnnouncementsView(View):
    """What is announced now."""

    @extend_schema(operation_id="announcements_list", responses=answers(shapes.AnnouncementListSerializer))
    def get(self, request: Request) -> Response:
        """What is announced now to everybody or to your organization, the newest first; at most 20."""
        found = visible_announcements(principal_of(request))[:MAX_SHOWN]
        items = [
            {
                "id": one.public_id,
                "text": one.text,
                "level": one.level,
                "starts_at": stamp(one.starts_at),
                "ends_at": stamp(one.ends_at),
            }
            for one in found
        ]
        return Response({"items": items})
