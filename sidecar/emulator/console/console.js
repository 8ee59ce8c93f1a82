// The page: polls the emulator once a second, and sends what the buttons ask for.

import { get, post } from "./api.js";
import { byId, dayTime, el, fill, short, table } from "./dom.js";
import { filterJournal, pollJournal } from "./journal.js";
import { bindLicenses, showLicenses } from "./licenses.js";
import { SDKS } from "./sdks.js";
import { showUsage } from "./usage.js";

const POLL_MS = 1000;
const TICK_MS = 250;
const NEWEST = 2000;
const NOTICE_MS = 8000;
let clock = null;
let records = [];
let recordCount = -1;

let fading = 0;
function notify(text, bad = false) {
  const notice = byId("notice");
  clearTimeout(fading);
  if (!bad) fading = setTimeout(() => { notice.hidden = true; }, NOTICE_MS);
  notice.hidden = false;
  notice.className = bad ? "notice bad" : "notice";
  notice.textContent = text;
}

async function perform(path, members, done) {
  try {
    const answer = await post(path, members);
    notify(typeof done === "function" ? done(answer) : done);
    await poll();
    return answer;
  } catch (error) {
    notify(error.message, true);
    return null;
  }
}

function tick() {
  if (clock === null) return;
  const shown = new Date(clock.now + (performance.now() - clock.read) * clock.speed).toISOString().slice(0, 19);
  byId("now").textContent = `${shown.replace("T", " ")} UTC`;
  byId("now").dateTime = `${shown}Z`;
}

function showState(state) {
  clock = { now: Date.parse(state.now), read: performance.now(), speed: state.speed };
  byId("speed").textContent = state.speed === 0 ? "stopped" : `${state.speed}×`;
  if (document.activeElement !== byId("clock-speed")) byId("clock-speed").value = state.speed;
  byId("buyer").textContent = state.entitled ? "subscribed" : "not subscribed";
  byId("buyer").className = `chip ${state.entitled ? "good" : "bad"}`;
  const facts = [
    ["Product", state.product_code ?? "any"], ["Price", state.pricing ?? "any"], ["Buyer", state.entitled ? "subscribed" : "not subscribed"],
    ["Pods", state.registrations.length], ["Records", state.records], ["Armed faults", state.faults.length],
  ];
  fill(byId("facts"), facts, () => facts.map(([name, value]) => el("li", {}, `${name} `, el("b", {}, String(value)))));
  fill(byId("armed"), state.faults, () =>
    state.faults.map((each) =>
      el("li", {}, el("b", {}, each.fault), `${each.operation === "*" ? "any operation" : each.operation}, ${each.count} ${each.count === 1 ? "call" : "calls"}`,
        el("button", { class: "small", "aria-label": `Withdraw ${each.fault} of ${each.operation}`, onclick: () => perform("faults", { ...each, count: 0 }, `Withdrawn: ${each.fault}.`) }, "Withdraw"))));
  const keys = Object.entries(state.public_keys);
  fill(byId("keys"), keys, () =>
    keys.map(([version, key]) => el("li", {}, el("a", { href: `/_emulator/public-keys/${version}.pem` }, `Version ${version}`), el("span", { class: "hint" }, key.expired_at === null ? "current" : `expired ${dayTime(key.expired_at)}`))));
  table(byId("pods"), "Registered pods", [{ title: "Pod" }, { title: "Product" }, { title: "Key", number: true }, { title: "Since" }],
    state.registrations.slice(-100).reverse().map((each) => [each.Identity, each.ProductCode, String(each.PublicKeyVersion), dayTime(each.RegisteredAt)]));
  table(byId("customers"), "SaaS customers", [{ title: "Customer" }, { title: "AWS account" }, { title: "License" }, { title: "State" }],
    state.customers.map((each) => [each.CustomerIdentifier ?? "-", each.CustomerAWSAccountId, short(each.LicenseArn.split(":").at(-1), 14), each.entitled ? "subscribed" : "not subscribed"]));
  const counts = { "record-count": state.records, "pod-count": state.registrations.length, "customer-count": state.customers.length, "license-count": state.licenses };
  for (const [id, count] of Object.entries(counts)) byId(id).textContent = count ? String(count) : "";
}

let polling = null;
function poll() {
  polling ??= pollOnce().finally(() => { polling = null; });
  return polling;
}

async function pollOnce() {
  const connection = byId("connection");
  try {
    const state = await get("state");
    showState(state);
    if (state.records !== recordCount) {
      records = (await get(`records?last=${NEWEST}`)).records;
      recordCount = state.records;
    }
    showUsage(records, state.now);
    const [licenses, checkouts] = state.licenses + state.checkouts > 0 ? await Promise.all([get("licenses"), get("checkouts")]) : [{ licenses: [] }, { checkouts: [] }];
    showLicenses(licenses.licenses, checkouts.checkouts, changeLicense);
    await pollJournal(get);
    if (connection.className !== "connection on") { connection.className = "connection on"; connection.textContent = "live"; }
  } catch (error) {
    if (connection.className !== "connection off") { connection.className = "connection off"; connection.textContent = `no connection: ${error.message}`; }
  }
}

function bindClock() {
  const moved = (answer) => `The clock shows ${dayTime(answer.now)}:${answer.now.slice(17, 19)} UTC, speed ${answer.speed}.`;
  for (const each of document.querySelectorAll("[data-advance]")) each.addEventListener("click", () => perform("clock", { advance: each.dataset.advance }, moved));
  for (const each of document.querySelectorAll("[data-speed]")) each.addEventListener("click", () => perform("clock", { speed: Number(each.dataset.speed) }, moved));
  byId("set-clock").addEventListener("submit", (event) => { event.preventDefault(); perform("clock", { now: byId("clock-now").value.trim() }, moved); });
  byId("set-speed").addEventListener("submit", (event) => { event.preventDefault(); perform("clock", { speed: Number(byId("clock-speed").value) }, moved); byId("clock-speed").blur(); });
}

function bindCustomers() {
  byId("subscribe").addEventListener("click", () => perform("customers", { action: "entitle" }, "The buyer is subscribed."));
  byId("unsubscribe").addEventListener("click", () => perform("customers", { action: "unsubscribe" }, "The buyer is not subscribed."));
  byId("customer").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { entitlements, ...names } = Object.fromEntries([...new FormData(event.target)].filter(([name, value]) => name !== "action" && value.trim() !== ""));
    if (Object.keys(names).length === 0) { notify("Give an identifier, an account or a license; the buttons under Buyer change the account of the pods.", true); return; }
    const action = event.submitter?.value ?? "entitle";
    const members = { action, ...names };
    try {
      if (entitlements) members.entitlements = JSON.parse(entitlements);
    } catch (error) {
      notify(`Entitlements: ${error.message}`, true);
      return;
    }
    const answer = await perform("customers", members, `Customer: ${action} done.`);
    byId("token").hidden = !answer?.RegistrationToken;
    byId("token-text").textContent = answer?.RegistrationToken ?? "";
  });
}

function bindFaults(choices) {
  const form = byId("arm");
  const [operation, fault] = [form.elements.operation, form.elements.fault];
  operation.append(el("option", { value: "*" }, "any operation"), ...choices.operations.map((each) => el("option", {}, each)));
  const offer = () => {
    const kept = fault.value;
    const fits = (names) => operation.value === "*" || names.includes(operation.value);
    const behaviors = Object.entries(choices.faults).filter(([, names]) => fits(names)).map(([name]) => name);
    const errors = operation.value === "*" ? [] : choices.errors[operation.value];
    const options = (names) => names.map((each) => el("option", {}, each));
    fault.replaceChildren(el("optgroup", { label: "Faults" }, ...options(behaviors)), ...(errors.length ? [el("optgroup", { label: "Errors of AWS" }, ...options(errors))] : []));
    if ([...behaviors, ...errors].includes(kept)) fault.value = kept;
  };
  operation.addEventListener("change", offer);
  operation.value = "MeterUsage";
  offer();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    perform("faults", { operation: operation.value, fault: fault.value, count: Number(form.elements.count.value) }, `Armed: ${fault.value}.`);
  });
}

const changeLicense = (members) => perform("licenses", members, (license) => `License ${license.LicenseArn}: ${license.Status}.`);

function bindState() {
  byId("rotate").addEventListener("click", () => perform("keys", { rotate: true }, (answer) => `The current key version is ${answer.public_key_version}.`));
  byId("reset").addEventListener("click", () => byId("confirm").showModal());
  byId("confirm").addEventListener("close", () => { if (byId("confirm").returnValue === "yes") perform("reset", {}, "The emulator is back at its seed."); byId("confirm").returnValue = ""; });
}

function bindEnvironment() {
  const show = (name) => { byId("environment").textContent = SDKS[name](location.origin); };
  byId("sdks").append(...Object.keys(SDKS).map((name, index) => el("label", {}, el("input", { type: "radio", name: "sdk", value: name, checked: index === 0, onchange: () => show(name) }), name)));
  show(Object.keys(SDKS)[0]);
  byId("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(byId("environment").textContent);
      notify("Copied.");
    } catch {
      // Without a secure context there is no clipboard: the text is selected for the person to copy.
      getSelection().selectAllChildren(byId("environment"));
      notify("Selected: press Ctrl+C to copy.");
    }
  });
}

async function start() {
  bindClock();
  bindCustomers();
  bindState();
  bindEnvironment();
  byId("filter").addEventListener("input", filterJournal);
  byId("refused").addEventListener("change", filterJournal);
  setInterval(tick, TICK_MS);
  await poll();
  setInterval(() => { if (!document.hidden) poll(); }, POLL_MS);
  try {
    const choices = await get("console/choices.json");
    bindFaults(choices);
    bindLicenses(choices, changeLicense, notify);
  } catch (error) {
    notify(error.message, true);
  }
}

start();
