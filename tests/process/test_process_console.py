"""The console in a real browser, next to a real sidecar: what a seller does in the first five minutes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.commands.demo.environment import wait_for
from sidecar.emulator.state.license_changes import ACTIONS
from tests.support.browser import ENTER, SPACE, TAB, Browser, browsing, page_of
from tests.support.processes import ask
from tests.support.reading import ROOT

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Site

pytestmark = [pytest.mark.process, pytest.mark.machine]

PICTURE = ROOT / "docs" / "pictures" / "console.png"
WIDTHS = (400, 800, 1280)
SCHEMES = ("light", "dark")
SEATS = {"Name": "users", "Unit": "Count", "MaxCount": 5}
NEWEST = "#journal li:first-child"

PRESS_LICENSE = """
const buttons = [...document.querySelectorAll("#licenses button")];
buttons.find((each) => each.textContent === arguments[0]).click();
"""
UNNAMED = """
return [...document.querySelectorAll("button, input, select, a, summary, [role=img], [role=region], [tabindex='0']")]
  .filter((each) => each.checkVisibility() && !["SUMMARY"].includes(each.tagName))
  .filter((each) => !(each.getAttribute("aria-label") || each.getAttribute("aria-labelledby") || each.labels?.length
    || each.textContent.trim()))
  .map((each) => each.outerHTML);
"""
CONTRAST = """
const luminance = (color) => {
  const [red, green, blue] = color.match(/[\\d.]+/g).slice(0, 3)
    .map((part) => part / 255).map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const behind = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const color = getComputedStyle(each).backgroundColor;
    if (!/, 0\\)$|transparent/.test(color)) return color;
  }
  return "rgb(255, 255, 255)";
};
return [...document.querySelectorAll("body *")]
  .filter((each) => each.checkVisibility())
  .filter((each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  .map((each) => {
    const [light, dark] = [luminance(getComputedStyle(each).color), luminance(behind(each))].sort((a, b) => b - a);
    return [Math.round(((light + 0.05) / (dark + 0.05)) * 100) / 100, each.outerHTML.slice(0, 120)];
  })
  .filter(([ratio]) => ratio < 4.5);
"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser that ends without complaints about the page."""
    with browsing(tmp_path) as browser:
        yield browser


@pytest.fixture
def console(browser: Browser, emulator: "Emulator") -> Browser:
    """The console of the emulator, live."""
    browser.resize(1280, 1000)
    browser.open(f"{emulator.url}/")
    browser.await_text("#connection", "live")
    return browser


def license_of(emulator: "Emulator") -> Any:
    """Return the one license."""
    (license_,) = emulator.get("licenses")["licenses"]
    return license_


def await_journal(console: Browser, *words: str) -> None:
    """Wait until one call in the journal shows these words."""

    def look() -> bool:
        lines = console.run("return [...document.querySelectorAll('#journal summary')].map((each) => each.textContent)")
        return any(all(word in line for word in words) for line in lines)

    wait_for(f"a call with {words}", look)


def test_gate_opens_and_closes(site: "Site", emulator: "Emulator", console: Browser) -> None:
    """By clicks alone: the gate opens, an hour passes, its record appears, and the gate closes."""
    site.changes = {"metering": {"dimensions": [{"name": "requests"}, {"name": "gigabytes"}]}}
    console.click("#unsubscribe")
    console.await_text("#buyer", "not subscribed")
    sidecar = site.start()
    sidecar.await_entitlement(entitled=False, state="denied")
    await_journal(console, "RegisterUsage", "CustomerNotEntitledException", "subscription")

    console.click("#subscribe")
    console.await_text("#facts", "Buyer subscribed")
    console.click("[data-advance='15m']")
    sidecar.await_entitlement(entitled=True)
    await_journal(console, "RegisterUsage", "200 OK", "registration")
    console.await_text("#pods", "0abc123example")

    for quantity in ("17.5", "42", "28.25"):
        sidecar.report(*({"dimension": name, "quantity": quantity} for name in ("requests", "gigabytes")))
        console.click("[data-advance='1h']")
        await_journal(console, "MeterUsage", f"requests {quantity}", "200 OK", "hour-slot")
    console.await_text("#chart", "87.75")
    console.click("#records-box summary")
    console.await_text("#records", "2026-11-23 12:00")
    shown = console.run("return [...document.querySelectorAll('#chart svg')].map((each) => each.ariaLabel)")
    assert [f"{name} by hour: 10:00 17.5, 11:00 42, 12:00 28.25" for name in ("gigabytes", "requests")] == shown
    console.click("#records-box summary")

    console.click("#unsubscribe")
    assert (1, 0) == sidecar.report({"dimension": "requests"})
    console.click("[data-advance='1h']")
    sidecar.await_entitlement(entitled=False, state="suspended")
    await_journal(console, "MeterUsage", "CustomerNotEntitledException")
    console.click(f"{NEWEST} summary")
    # By now another call may be the newest: the sidecar asks again.
    console.await_text("#journal details[open] dl", "Rule")
    assert [] == console.complaints()
    if os.environ.get("UPDATE_PICTURES"):
        console.run("scrollTo(0, 0)")
        PICTURE.write_bytes(console.picture())


def test_every_control_works(emulator: "Emulator", console: Browser) -> None:
    """Clock, speed, faults, keys, customers, licenses and reset: each button changes the emulator."""
    console.type("#clock-now", "2026-11-23T12:00:00Z")
    console.click("#set-clock button")
    console.await_text("#notice", "2026-11-23 12:00")
    console.click("[data-speed='0']")
    console.await_text("#speed", "stopped")
    console.type("#clock-speed", "60")
    console.click("#set-speed button")
    console.await_text("#speed", "60")

    console.run("const fault = document.querySelector('#arm [name=fault]'); fault.value = 'drop-response'")
    console.type("#arm [name=count]", "3")
    console.click("#arm button")
    console.await_text("#armed", "MeterUsage, 3 calls")
    assert [{"operation": "MeterUsage", "fault": "drop-response", "count": 3}] == emulator.get("faults")["faults"]
    assert "Withdraw drop-response of MeterUsage" == console.name("#armed button")
    console.click("#armed button")
    wait_for("no fault", lambda: [] == emulator.get("faults")["faults"])

    console.click("#rotate")
    console.await_text("#keys", "Version 2")
    console.type("#customer [name=CustomerIdentifier]", "acme")
    console.type("#customer [name=entitlements]", '[{"Dimension": "users", "Value": {"IntegerValue": 10}}]')
    console.click("#customer button[value=entitle]")
    console.await_text("#token", "Registration token: ")
    console.await_text("#customers", "acme")
    entitlements = {each["CustomerIdentifier"]: each["entitlements"] for each in emulator.get("state")["customers"]}
    assert ["users"] == [each["Dimension"] for each in entitlements["acme"]]
    console.run(
        "const operation = document.querySelector('#arm [name=operation]'); operation.value = arguments[0]; "
        "operation.dispatchEvent(new Event('change'))",
        "GetEntitlements",
    )
    console.run("document.querySelector('#arm [name=fault]').value = 'throttle'")
    console.click("#arm button")
    console.await_text("#armed", "GetEntitlements, 3 calls")

    console.type("#license [name=sku]", "prod-1")
    console.click("#license-actions button")
    console.await_text("#licenses", "users 0/5")
    for action, expected in (("Suspend", "SUSPENDED"), ("Resume", "AVAILABLE"), ("Expire", "EXPIRED")):
        console.run(PRESS_LICENSE, action)
        console.await_text("#licenses", expected)

    console.click("#reset")
    console.click("#confirm button[value=yes]")
    console.await_text("#notice", "back at its seed")
    state = emulator.get("state")
    assert (0, 1.0, 1) == (state["licenses"], state["speed"], state["public_key_version"])
    assert [] == console.complaints()


@pytest.mark.parametrize("width", [400, 1280])
def test_each_license_action_has_a_button(emulator: "Emulator", console: Browser, width: int) -> None:
    """Every license action of the control API is one button, reached and pressed by keyboard, at 400 pixels as well."""

    def states() -> list[tuple[str, str]]:
        listed = emulator.get("licenses")["licenses"]
        return [(each["Status"], each["ReceivedMetadata"]["ReceivedStatus"]) for each in listed]

    def press(action: str, expected: list[tuple[str, str]]) -> None:
        console.run("document.querySelector(`#license-actions [value=${arguments[0]}]`).focus()", action)
        console.press(ENTER)
        wait_for(f"{action}: {expected}", lambda: expected == states())

    console.resize(width, 900)
    console.await_text("#license-actions", "Remove")
    assert width == console.run("return document.documentElement.scrollWidth")
    assert list(ACTIONS) == console.run(
        "return [...document.querySelectorAll('#license-actions button')].map((each) => each.value)"
    )
    console.type("#license [name=sku]", "prod-1")
    console.run("document.querySelector('#license [name=received]').value = 'PENDING_ACCEPT'")
    press("grant", [("AVAILABLE", "PENDING_ACCEPT")])
    console.await_text("#licenses", "PENDING_ACCEPT")
    console.run("document.querySelector('#license [name=received]').value = 'ACTIVE'")
    press("amend", [("AVAILABLE", "ACTIVE")])
    for action, status in (
        *(("suspend", "SUSPENDED"), ("resume", "AVAILABLE"), ("deactivate", "DEACTIVATED"), ("resume", "AVAILABLE")),
        *(("delete", "DELETED"), ("resume", "AVAILABLE"), ("expire", "EXPIRED")),
    ):
        press(action, [(status, "ACTIVE")])
    press("renew", [("EXPIRED", "ACTIVE"), ("AVAILABLE", "ACTIVE")])
    press("remove", [("EXPIRED", "ACTIVE")])
    assert [] == console.run(UNNAMED)
    assert [] == console.complaints()


def test_each_license_has_its_buttons(emulator: "Emulator", console: Browser) -> None:
    """A license is accepted, amended and suspended in its own line, and the focus stays on the button."""
    console.resize(400, 900)
    emulator.post("licenses", action="grant", sku="prod-1", received="PENDING_ACCEPT", entitlements=[SEATS])
    console.await_text("#licenses", "PENDING_ACCEPT")
    console.run(PRESS_LICENSE, "Accept")
    wait_for("accepted", lambda: "ACTIVE" == license_of(emulator)["ReceivedMetadata"]["ReceivedStatus"])
    console.await_text("#licenses", "Amend")
    console.run(PRESS_LICENSE, "Amend…")
    assert "MaxCount" == console.run("return document.activeElement.name")
    console.type("#license [name=MaxCount]", "7")
    console.click("#license-actions [value=amend]")
    console.await_text("#licenses", "users 0/7")
    assert "AVAILABLE" == license_of(emulator)["Status"]
    console.run("[...document.querySelectorAll('#licenses button')].find((it) => it.textContent === 'Suspend').focus()")
    for status, offered in (("SUSPENDED", "Resume"), ("AVAILABLE", "Suspend")):
        console.press(ENTER)
        console.await_text("#licenses", status)
        assert offered == console.run("return document.activeElement.textContent")
    assert 400 == console.run("return document.documentElement.scrollWidth")
    assert [] == console.complaints()


def test_refusal_is_shown(emulator: "Emulator", console: Browser) -> None:
    """A refused request shows the server's words: member, value and what is allowed."""
    before = emulator.get("clock")["now"]
    console.type("#clock-now", "yesterday")
    console.click("#set-clock button")
    console.await_text("#notice", "now: 'yesterday': is not RFC 3339")
    assert before[:13] == emulator.get("clock")["now"][:13]


def test_what_a_caller_sends_is_text(emulator: "Emulator", console: Browser) -> None:
    """Markup in a dimension is shown and not run."""
    console.click("[data-speed='0']")
    hostile = "<img src=x onerror=document.title='hit'>"
    emulator.post("customers", action="entitle", CustomerIdentifier=hostile)
    console.await_text("#customers", hostile)
    assert "AWS Marketplace emulator" == console.run("return document.title")


def test_keyboard_is_enough(emulator: "Emulator", console: Browser) -> None:
    """The first Tab offers the way to the calls; buttons answer to Enter, and SDKs to arrows, without a mouse."""
    console.press(TAB)
    assert "Skip to the calls" == console.run("return document.activeElement.textContent")
    console.press(TAB + TAB + TAB)
    assert "+1 hour" == console.run("return document.activeElement.textContent")
    before = emulator.get("clock")["now"]
    console.press(ENTER)
    wait_for("the hour", lambda: emulator.get("clock")["now"][:13] != before[:13])
    console.run("document.querySelector('#reset').focus()")
    console.press(SPACE)
    assert console.run("return document.querySelector('#confirm').open")
    console.press("\ue00c")
    assert not console.run("return document.querySelector('#confirm').open")
    console.run("document.querySelector('#sdks input').focus()")
    console.press("\ue014")
    assert "boto3" in console.text("#environment")


@pytest.mark.parametrize("sdk", ["CLI", "Python", "Go", "Node", "Java", "Rust"])
def test_environment_of_each_sdk(emulator: "Emulator", console: Browser, sdk: str) -> None:
    """Each SDK has an environment with this emulator's address, and it can be copied."""
    console.run("document.querySelector(`#sdks [value=${arguments[0]}]`).click()", sdk)
    assert f"AWS_ENDPOINT_URL={emulator.url}\n" in console.run(
        "return document.querySelector('#environment').textContent"
    )
    console.command("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    console.click("#copy")
    console.await_text("#notice", "Copied.")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_and_is_readable(site: "Site", console: Browser, width: int, scheme: str) -> None:
    """At each width nothing is cut off sideways; controls have names, and text has a contrast of 4.5 at least."""
    sidecar = site.start_entitled()
    sidecar.report({"dimension": "requests", "quantity": "3"})
    site.advance(sidecar, "1h")
    sidecar.await_records(1)
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    listed = [{"name": name, "value": value} for name, value in features.items()]
    console.command("Emulation.setEmulatedMedia", {"features": listed})
    console.resize(width, 900)
    console.await_text("#chart", "requests")
    console.click(f"{NEWEST} summary")
    assert width == console.run("return document.documentElement.scrollWidth")
    assert [] == console.run(UNNAMED)
    assert [] == console.run(CONTRAST)


def test_foreign_page_is_refused(emulator: "Emulator", browser: Browser, tmp_path: Path) -> None:
    """A real page of another origin can neither read the state nor reset it, by fetch or by a form."""
    before = emulator.get("state")["public_key_version"]
    script = """
      const [url, body] = [arguments[0], '{"rotate": true}'];
      const attempt = (path, options) => fetch(url + path, options).then((answer) => answer.type, () => "refused");
      return Promise.all([
        attempt("/_emulator/state"),
        attempt("/_emulator/keys", {method: "POST", body}),
        attempt("/_emulator/keys", {method: "POST", mode: "no-cors", body: new Blob([body])}),
        attempt("/_emulator/keys", {method: "POST", headers: {"Content-Type": "application/json"}, body}),
      ]);
    """
    with page_of("<title>foreign</title>") as foreign:
        browser.open(foreign)
        assert ["refused", "refused", "opaque", "refused"] == browser.run(script, emulator.url)
    assert before == emulator.get("state")["public_key_version"]


def test_bound_name_changes_nothing(emulator: "Emulator", tmp_path: Path) -> None:
    """A page whose name an outsider bound to the emulator's address cannot use the control API; a program can."""
    script = """
      const headers = {"Content-Type": "application/json"};
      return fetch("/_emulator/keys", {method: "POST", headers, body: '{"rotate": true}'}).then((it) => it.status);
    """
    with browsing(tmp_path, "--host-resolver-rules=MAP rebound.example 127.0.0.1") as browser:
        browser.open(f"http://rebound.example:{emulator.port}/_emulator/state")
        assert 403 == browser.run(script)
    assert 1 == emulator.get("state")["public_key_version"]
    changed = ask(emulator.port, "POST", "/_emulator/keys", {"rotate": True}, headers={"Host": "rebound.example"})
    assert 200 == changed.status
