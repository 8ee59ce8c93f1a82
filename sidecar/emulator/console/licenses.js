// Licenses with their held seats, and what is checked out.

import { byId, clockTime, dayTime, el, fill, short, table } from "./dom.js";

const GOOD = new Set(["AVAILABLE"]);

function held(checkouts, license, name) {
  const of = checkouts.filter((each) => each.Held && each.LicenseArn === license.LicenseArn).flatMap((each) => each.EntitlementsAllowed);
  return of.filter((each) => each.Name === name).reduce((sum, each) => sum + Number(each.Value ?? 0), 0);
}

// The form takes the terms of one license, for Amend and Renew.
function edit(license) {
  const { elements } = byId("license");
  const one = license.Entitlements.length === 1 ? license.Entitlements[0] : {};
  for (const each of ["sku", "begin", "end"]) elements[each].value = "";
  elements.arn.value = license.LicenseArn;
  for (const each of ["Name", "Unit", "MaxCount"]) elements[each].value = one[each] ?? "";
  elements.received.value = license.ReceivedMetadata.ReceivedStatus;
  elements.more.value = one.Name ? "" : JSON.stringify({ entitlements: license.Entitlements });
  elements.MaxCount.focus();
}

function buttonsOf(license, act) {
  const arn = license.LicenseArn;
  // By its slot the focus finds the button again: Suspend and Resume share one.
  const button = (title, onclick, slot = title) =>
    el("button", { class: "small", type: "button", "data-slot": `${slot} ${arn}`, "aria-label": `${title} license ${arn}`, onclick }, title);
  const simple = (action, title, slot) => button(title, () => act({ action, arn }), slot);
  const stopped = ["SUSPENDED", "DEACTIVATED", "DELETED", "PENDING_DELETE"].includes(license.Status);
  return [
    license.ReceivedMetadata.ReceivedStatus === "ACTIVE" ? null : button("Accept", () => act({ action: "amend", arn, received: "ACTIVE" })),
    simple("renew", "Renew"), button("Amend…", () => edit(license)), stopped ? simple("resume", "Resume", "hold") : simple("suspend", "Suspend", "hold"),
    simple("deactivate", "Deactivate"), simple("expire", "Expire"), simple("delete", "Delete"), simple("remove", "Remove"),
  ];
}

export function showLicenses(licenses, checkouts, act) {
  const slot = document.activeElement?.dataset.slot;
  fill(byId("licenses"), [licenses, checkouts], () =>
    licenses.map((license) => {
      const seats = license.Entitlements.map((each) => (each.MaxCount === undefined ? each.Name : `${each.Name} ${held(checkouts, license, each.Name)}/${each.MaxCount}`));
      const received = license.ReceivedMetadata.ReceivedStatus;
      return el(
        "li", {},
        el("b", {}, license.ProductSKU),
        el("span", { class: GOOD.has(license.Status) ? "good" : "bad" }, license.Status),
        received === "ACTIVE" ? null : el("span", { class: "warn" }, received),
        el("span", { class: "mono" }, seats.join(", ")),
        el("span", { class: "hint" }, `until ${license.Validity.End ? dayTime(license.Validity.End) : "no end"}, ${short(license.LicenseArn.split(":").at(-1), 10)}`),
        el("span", { class: "row" }, ...buttonsOf(license, act)),
      );
    }),
  );
  if (slot && document.activeElement?.dataset.slot !== slot) [...byId("licenses").querySelectorAll("button")].find((each) => each.dataset.slot === slot)?.focus();
  table(
    byId("checkouts"),
    "Checkouts",
    [{ title: "Checkout" }, { title: "Entitlements" }, { title: "Pod" }, { title: "Type" }, { title: "Until" }, { title: "State" }],
    checkouts.slice(-100).reverse().map((each) => [
      short(each.ClientToken, 14), each.EntitlementsAllowed.map((asked) => `${asked.Name} ${asked.Value ?? ""}`.trim()).join(", "), short(each.Identity, 20), each.CheckoutType.toLowerCase(), clockTime(each.Expiration), each.Held ? "held" : each.ReturnedAt ? "returned" : "ended",
    ]),
  );
}

function readForm(form, action, allowed) {
  const given = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
  const members = { action };
  for (const name of ["sku", "arn", "begin", "end", "received"]) if (given[name] && allowed.includes(name)) members[name] = given[name];
  if (allowed.includes("entitlements") && given.Name) {
    members.entitlements = [{ Name: given.Name, Unit: given.Unit, ...(given.Unit === "None" || given.MaxCount === "" ? {} : { MaxCount: Number(given.MaxCount) }) }];
  }
  return Object.assign(members, given.more ? JSON.parse(given.more) : {});
}

export function bindLicenses(choices, act, notify) {
  const form = byId("license");
  form.elements.received.append(...choices.received.map((each) => el("option", {}, each)));
  // One button for each action of the control API; Enter in a field is the first one, Grant.
  const title = (action) => action[0].toUpperCase() + action.slice(1);
  byId("license-actions").append(...Object.keys(choices.license_actions).map((each, index) => el("button", { value: each, class: index === 0 ? "primary" : null }, title(each))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const action = event.submitter?.value ?? "grant";
    try {
      act(readForm(form, action, choices.license_actions[action]));
    } catch (error) {
      notify(`More members: ${error.message}`, true);
    }
  });
}
