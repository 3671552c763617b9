"""Who enters the console. It has no sign-in form of its own: that would be a way round the bounds on guessing
passwords, and round the second factor."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from flexai.tenancy.models import User
from flexai.tenancy.roles import OPERATOR, Action, allows
from flexai.tenancy.second_factor import SESSION_MARK, is_active


def is_operator(request: HttpRequest) -> bool:
    """True for a user who is signed in, active and an operator, and showed a second factor where that is asked for."""
    return _is_staff(request) and (
        not settings.CONSOLE_SECOND_FACTOR or bool(request.session.get(SESSION_MARK))
    )


def door(request: HttpRequest) -> HttpResponse:
    """Leads to the dashboard's sign-in page, or says what an operator lacks."""
    if _is_staff(request) and not is_operator(request):
        return render(request, "console/door.html", {"has_one": has_one(request)}, status=403)
    return HttpResponseRedirect("/login?next=/console/")


def has_one(request: HttpRequest) -> bool:
    """Whether the user has a second factor to sign in with."""
    return isinstance(request.user, User) and is_active(request.user)


def _is_staff(request: HttpRequest) -> bool:
    user = request.user
    is_staff = user.is_active and getattr(user, "is_staff", False)
    return bool(is_staff and allows(Action.OPEN_CONSOLE, OPERATOR))
