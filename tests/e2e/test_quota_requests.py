"""In a real Chromium: a maintainer asks for more quota in the dashboard, an operator sees the effect in the console and
approves, and the job that waited for it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.test_dashboard import ENDS_MS, status_of
from tests.support.platform import LivePlatform

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PASSWORD = "a-long-pass-phrase-of-mia"


@pytest.fixture
def maintainer(chromium: Browser, platform: LivePlatform, page: Page) -> Iterator[Page]:
    """The dashboard as mia has it, a maintainer whom the operator made in the console."""
    _post(page, "/console/tenancy/user/add/", username="mia", password1=PASSWORD, password2=PASSWORD)
    page.goto("/console/tenancy/user/?q=mia")
    user = page.locator("#result_list").get_by_role("link", name="mia").get_attribute("href") or ""
    organization = platform.client().me()["organization"]
    _post(
        page, "/console/tenancy/organization/1/change/", name=organization["name"], slug=organization["slug"],
        **{
            "memberships-TOTAL_FORMS": "1", "memberships-INITIAL_FORMS": "0", "memberships-0-organization": "1",
            "memberships-0-user": user.split("/user/")[1].split("/")[0], "memberships-0-role": "maintainer",
        },
    )  # fmt: skip
    context = chromium.new_context(base_url=platform.url, viewport={"width": 1440, "height": 900})
    made = context.new_page()
    made.set_default_timeout(60_000)
    made.goto("/login")
    made.get_by_label("User name").fill("mia")
    made.get_by_label("Password", exact=True).fill(PASSWORD)
    made.get_by_role("button", name="Sign in").click()
    expect(made.get_by_role("heading", name="Hello, mia")).to_be_visible()
    yield made
    context.close()
    key = {"Authorization": f"Bearer {platform.token}"}
    assert page.request.delete("/api/v1/members/mia", headers=key).status == 204


def test_a_maintainer_asks_an_operator_approves_and_the_waiting_job_starts(
    maintainer: Page, page: Page, platform: LivePlatform
) -> None:
    client = platform.client()
    team = next(iter(client.teams.list()))
    before = client.quotas.of(team["id"])
    bounded = {"chip_type": "cpu", "guaranteed_milli": 0, "limit_milli": 1000, "over_quota_weight": 1}
    client.quotas.set(team["id"], [*(quota for quota in before if quota["chip_type"] != "cpu"), bounded])
    asks = {
        "team": team["name"],
        "resources": {"accelerators": "cpu:1", "memory": "32MB"},
        "preemptible": True,
    }
    holding = client.jobs.submit({"name": "holding", "commands": ["sleep 600"], **asks})
    waiting = client.jobs.submit({"name": "waits-for-quota", "commands": ["true"], **asks})

    maintainer.goto(f"/teams?team={team['id']}")
    maintainer.get_by_role("button", name="Ask for more quota").click()
    form = maintainer.get_by_role("dialog")
    form.get_by_label("Chip type").fill("cpu")
    form.get_by_label("Limit, in chips").fill("2")
    form.get_by_label("Reason").fill("two at once")
    _picture(maintainer, "ask")
    form.get_by_role("button", name="Ask", exact=True).click()
    requests = maintainer.get_by_role("list", name=f"What {team['name']} asked for")
    expect(requests).to_contain_text("Waits for an answer")
    expect(requests.get_by_role("button", name="Approve")).to_have_count(0)

    page.goto("/console/")
    page.get_by_role("link", name="Open quota requests 1").click()
    page.locator("#result_list a", has_text="qreq-").click()
    expect(page.get_by_text("two at once")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text(f"waits-for-quota ({team['name']}) starts")
    expect(page.get_by_label("Limit")).to_have_value("2")
    _picture(page, "decide")
    page.get_by_label("Guaranteed").fill("-1")
    page.get_by_role("button", name="Show the effect").click()
    expect(page.get_by_role("alert")).to_contain_text("greater than or equal to 0")
    page.get_by_label("Guaranteed").fill("0")
    page.get_by_label("Answer to the team").fill("for the paper")
    page.get_by_role("button", name="Show the effect").click()
    expect(page.get_by_role("status")).to_contain_text(f"waits-for-quota ({team['name']}) starts")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("is approved.")).to_be_visible()
    _picture(page, "list")

    expect(requests).to_contain_text("Approved by admin")
    expect(requests).to_contain_text("for the paper")
    _picture(maintainer, "approved")
    page.goto(f"/jobs/{waiting['id']}")
    expect(status_of(page)).to_have_text("succeeded", timeout=ENDS_MS)
    client.jobs.stop(holding["id"])
    client.quotas.set(team["id"], before)


def _post(page: Page, path: str, **form: str) -> None:
    """A form of the console, filled in and sent."""
    page.goto(path)
    token = page.locator('input[name="csrfmiddlewaretoken"]').first.get_attribute("value") or ""
    answer = page.request.post(
        path, form={"csrfmiddlewaretoken": token, **form}, headers={"Referer": page.url}, max_redirects=0
    )
    assert answer.status == 302, answer.text()


def _picture(page: Page, name: str) -> None:
    if folder := os.environ.get("FLEXAI_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
