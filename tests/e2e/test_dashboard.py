"""The dashboard in a real Chromium against a live platform: sign in, submit, watch, look, by mouse and by keyboard."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import check_page, check_shown
from tests.support.platform import LivePlatform

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGES = ["/", "/jobs", "/jobs?q=no-such-job-anywhere", "/cluster", "/submit", "/schedules", "/teams",
         "/account", "/connect"]  # fmt: skip
TABS = ["summary", "why", "logs", "outputs", "chips", "metrics", "events", "attempts", "spec"]
ENDS_MS = 60_000
COUNTING = """echo counted 1; until [ -e {go} ]; do sleep 0.05; done
for step in $(seq 2 40); do echo counted $step; done"""


def submit(page: Page, name: str, command: str) -> str:
    """Submitted through the form; the job's page is shown. The id."""
    page.goto("/submit")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Commands").fill(command)
    page.get_by_label("CPUs").fill("0.1")
    page.get_by_label("Memory", exact=True).fill("")
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-verdict", "fits")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url(re.compile(r"/jobs/job-"))
    return page.url.split("/jobs/")[1].split("?")[0]


def status_of(page: Page) -> Locator:
    """The word beside the job's name."""
    return page.locator("h1").get_by_test_id("status")


def test_a_job_is_submitted_its_log_grows_and_its_end_is_seen(page: Page, open_folder: Path) -> None:
    go = open_folder / "go"
    submit(page, "watched", COUNTING.format(go=go))
    page.get_by_role("tab", name="Logs").click()
    log = page.get_by_role("log", name="Logs")
    expect(log).to_contain_text("counted 1")
    expect(status_of(page)).to_have_text("running")
    expect(log).not_to_contain_text("counted 2")
    go.touch()
    expect(log).to_contain_text("counted 40")
    expect(status_of(page)).to_have_text("succeeded", timeout=ENDS_MS)
    expect(page.get_by_test_id("log-state")).to_contain_text("complete")
    page.get_by_role("tab", name="Events").click()
    expect(page.get_by_role("table", name="Events")).to_contain_text("Finished with exit code 0.")


def test_the_list_shows_a_change_of_state_at_once_and_without_a_reload(
    page: Page, platform: LivePlatform
) -> None:
    page.goto("/jobs")
    expect(page.get_by_test_id("connection")).to_have_text("Live")
    answer = page.request.post(
        "/api/v1/jobs",
        data={"name": "listed", "commands": ["sleep 1"], "resources": {"cpus": 0.1}},
        headers={"Authorization": f"Bearer {platform.token}"},
    )
    row = page.locator(f'tr[data-row="{answer.json()["id"]}"]')
    expect(row).to_be_visible()
    expect(row.get_by_test_id("status")).to_have_text("succeeded", timeout=ENDS_MS)


def test_a_running_job_is_stopped_with_a_reason(page: Page) -> None:
    submit(page, "stopped", "sleep 300")
    expect(status_of(page)).to_have_text("running")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_label("Reason (optional)").fill("enough seen")
    page.get_by_role("button", name="Stop the job").click()
    expect(status_of(page)).to_have_text("cancelled", timeout=ENDS_MS)
    expect(page.get_by_role("button", name="Run again")).to_be_visible()


def test_a_held_job_says_why_it_waits_and_is_resumed(page: Page, platform: LivePlatform) -> None:
    answer = page.request.post(
        "/api/v1/jobs",
        data={"name": "held", "commands": ["true"], "resources": {"cpus": 0.1}, "hold": True},
        headers={"Authorization": f"Bearer {platform.token}"},
    )
    page.goto(f"/jobs/{answer.json()['id']}?tab=why")
    expect(page.get_by_role("tabpanel")).to_contain_text("resume")
    page.get_by_role("button", name="Resume").click()
    expect(status_of(page)).to_have_text("succeeded", timeout=ENDS_MS)


def test_a_yaml_that_does_not_parse_never_erases_the_form(page: Page) -> None:
    page.goto("/submit")
    page.get_by_label("Name", exact=True).fill("kept")
    editor = page.get_by_test_id("yaml").get_by_role("textbox")
    expect(editor).to_contain_text("name: kept")
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text("broken: [")  # at once: half of it would be a key that the server refuses
    expect(page.get_by_role("alert")).to_contain_text("The form keeps what it had")
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_disabled()
    expect(page.get_by_label("Name", exact=True)).to_have_value("kept")
    page.get_by_role("button", name="Take the form").click()
    expect(editor).not_to_contain_text("[")
    expect(editor).to_contain_text("name: kept")
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_enabled()


def test_the_server_names_a_wrong_key_before_anything_is_submitted(page: Page) -> None:
    page.goto("/submit")
    editor = page.get_by_test_id("yaml").get_by_role("textbox")
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("prioritty: high")
    expect(page.get_by_test_id("verdict")).to_contain_text("did you mean `priority`?")
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_disabled()


def test_the_chip_map_is_walked_by_keyboard(page: Page) -> None:
    page.goto("/cluster")
    chips = page.get_by_role("application", name=re.compile("Chip map"))
    expect(chips).to_be_visible()
    expect(page.get_by_role("table", name="Nodes").locator("tbody tr").first).to_be_visible()
    chips.focus()
    page.keyboard.press("Home")
    expect(page.locator("p[aria-live=polite]")).to_contain_text("chip 0")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Agent version")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_lost_connection_is_said_and_made_up_for(page: Page, platform: LivePlatform) -> None:
    page.goto("/jobs")
    badge = page.get_by_test_id("connection")
    expect(badge).to_have_text("Live")
    old = platform.kill("web")
    expect(badge).to_have_text(re.compile("Reconnecting|Stale since"), timeout=30_000)
    platform.wait_restarted("web", old)
    expect(badge).to_have_text("Live", timeout=60_000)


def test_who_is_not_signed_in_sees_the_login_and_comes_back(
    chromium: Browser, platform: LivePlatform
) -> None:
    context = chromium.new_context(base_url=platform.url)
    page = context.new_page()
    page.goto("/cluster")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    page.get_by_label("User name").fill(platform.username)
    page.get_by_label("Password", exact=True).fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password", exact=True).fill(platform.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/cluster"))
    page.get_by_role("button", name=re.compile("Account of")).click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page).to_have_url(re.compile(r"/login"))
    page.goto("/jobs")
    expect(page).to_have_url(re.compile(r"/login"))
    context.close()


def test_the_theme_that_was_chosen_is_there_before_the_first_paint(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("menuitem", name="Dark").click()
    page.goto("/jobs", wait_until="commit")
    page.wait_for_function("document.documentElement !== null")
    page.wait_for_load_state("domcontentloaded")
    assert page.evaluate("document.documentElement.dataset.mantineColorScheme") == "dark"


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_accessible_in_light(page: Page, path: str) -> None:
    check_page(page, path)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_accessible_in_dark(dark_page: Page, path: str) -> None:
    check_page(dark_page, path)


def test_a_file_that_a_job_left_is_listed_and_downloaded(page: Page, platform: LivePlatform) -> None:
    spec = {
        "name": "leaves-files", "commands": ["mkdir r; echo content > 'r/a b&c.txt'; ln -s /etc/passwd r/p"],
        "resources": {"cpus": 0.05}, "outputs": ["r/**"],
    }  # fmt: skip
    job = platform.client().jobs.submit(spec)["id"]
    page.goto(f"/jobs/{job}?tab=outputs")
    link = page.get_by_role("link", name="r/a b&c.txt")
    expect(link).to_be_visible(timeout=ENDS_MS)
    expect(page.get_by_text("r/p is a link out of the job's folder.")).to_be_visible()
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "a b&c.txt"
    assert Path(download.value.path()).read_text() == "content\n"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    with tarfile.open(download.value.path()) as tar:
        assert tar.getnames() == [f"{job}-1/r/a b&c.txt"]
    check_page(page, f"/jobs/{job}?tab=outputs")


def test_every_tab_of_a_job_is_accessible_in_both_themes(page: Page, dark_page: Page) -> None:
    job = submit(page, "looked-at", "echo a line of text")
    expect(status_of(page)).to_have_text("succeeded", timeout=ENDS_MS)
    for one in (page, dark_page):
        for tab in TABS:
            check_page(one, f"/jobs/{job}?tab={tab}")


def test_the_console_works_with_a_policy_that_evaluates_nothing(page: Page) -> None:
    """What its theme does by expressions in attributes; a refused or unreadable one is a complaint, which fails."""
    page.goto("/console/jobs/job/")
    side_bar, html = page.locator("#nav-sidebar"), page.locator("html")
    expect(html).not_to_have_class(re.compile("dark"))
    page.locator("#nav-sidebar-apps ~ * >> text=admin").first.click()
    page.get_by_text("Dark", exact=True).first.click()
    expect(html).to_have_class(re.compile("dark"))
    page.locator("a:visible", has_text="Filters").first.click()
    expect(page.get_by_role("button", name="Apply Filters")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("span", has_text="dock_to_right").locator("visible=true").first.click()
    expect(side_bar).to_be_hidden()
    page.keyboard.press("Control+k")
    page.locator("#search-input-command").press_sequentially("quota req")
    expect(page.locator("#command-results a", has_text="Quota requests")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/tenancy/quotarequest/")
    expect(side_bar).to_be_hidden()
    expect(html).to_have_class(re.compile("dark"))
    page.goto("/console/tenancy/team/1/change/#budget")
    expect(page.get_by_text("Add another Budget")).to_be_visible()
    page.locator("#tabs-items a", has_text="Quotas").click()
    page.get_by_text("Add another Quota").click()
    expect(page.locator("#id_quotas-0-chip_type")).to_be_visible()


def test_pages_of_the_console_are_accessible_in_both_themes(page: Page, dark_page: Page) -> None:
    for path in ("cluster/chiptype/1/change/", "tenancy/team/1/change/#quotas", "tenancy/user/1/change/"):
        check_page(page, f"/console/{path}")
    for path in ("", "tenancy/team/quotas/", "scheduling/cycle/"):
        check_page(dark_page, f"/console/{path}")
    dark_page.locator("#result_list tbody th a").first.click()
    expect(dark_page.get_by_text("How long it took")).to_be_visible()
    check_shown(dark_page)


def test_an_operator_edits_a_quota_in_the_console_and_the_scheduler_follows(
    page: Page, platform: LivePlatform
) -> None:
    """One job holds all that the limit allows, another waits for more; the console foretells what a higher limit
    does, sets it, and it happens."""
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
    waiting = client.jobs.submit({"name": "bounded", "commands": ["true"], **asks})
    page.goto(f"/jobs/{waiting['id']}?tab=why")
    expect(page.get_by_role("tabpanel")).to_contain_text("limit")
    page.goto("/console/tenancy/team/quotas/")
    limit = page.get_by_label(f"limit of cpu for {team['name']}")
    expect(limit).to_have_value("1")
    limit.fill("2")
    page.get_by_role("button", name="Show the effect").click()
    expect(page.get_by_role("status")).to_contain_text(f"bounded ({team['name']}) starts")
    expect(limit).to_have_value("2")
    if folder := os.environ.get("FLEXAI_SHOTS"):
        page.screenshot(path=f"{folder}/quotas.png", full_page=True)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(f"Quotas of {team['name']} are set.")).to_be_visible()
    page.goto(f"/jobs/{waiting['id']}")
    expect(status_of(page)).to_have_text("succeeded", timeout=ENDS_MS)
    client.jobs.stop(holding["id"])
    client.quotas.set(team["id"], before)
