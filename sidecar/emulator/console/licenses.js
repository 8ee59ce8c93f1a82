// Licenses with their held seats, and what is checked out.

import { byId, clockTime, dayTime, el, fill, short, table } from "./dom.js";

const GOOD = new Set(["AVAILABLE"]);

function held(checkouts, license, name) {
  const of = checkouts.filter((each) => each.Held && each.LicenseArn === license.LicenseArn).flatMap((each) => each.EntitlementsAllowed);
  return of.filter((each) => each.Name === name).reduce((sum, each) => sum + Number(each.Value ?? 0), 0);
}

export function showLicenses(licenses, checkouts, act) {
  fill(byId("licenses"), [licenses, checkouts], () =>
    licenses.map((license) => {
      const seats = license.Entitlements.map((each) => (each.MaxCount === undefined ? each.Name : `${each.Name} ${held(checkouts, license, each.Name)}/${each.MaxCount}`));
      const button = (action, title) =>
        el("button", { class: "small", type: "button", "aria-label": `${title} license ${license.LicenseArn}`, onclick: () => act(action, license.LicenseArn) }, title);
      return el(
        "li", {},
        el("b", {}, license.ProductSKU),
        el("span", { class: GOOD.has(license.Status) ? "good" : "bad" }, license.Status),
        el("span", { class: "mono" }, seats.join(", ")),
        el("span", { class: "hint" }, `until ${license.Validity.End ? dayTime(license.Validity.End) : "no end"}, ${short(license.LicenseArn.split(":").at(-1), 10)}`),
        el("span", { class: "row" }, button("renew", "Renew"), license.Status === "SUSPENDED" ? button("resume", "Resume") : button("suspend", "Suspend"), button("expire", "Expire"), button("delete", "Delete"), button("remove", "Remove")),
      );
    }),
  );
  table(
    byId("checkouts"),
    "Checkouts",
    [{ title: "Checkout" }, { title: "Entitlements" }, { title: "Pod" }, { title: "Type" }, { title: "Until" }, { title: "State" }],
    checkouts.slice(-100).reverse().map((each) => [
      short(each.ClientToken, 14), each.EntitlementsAllowed.map((asked) => `${asked.Name} ${asked.Value ?? ""}`.trim()).join(", "), short(each.Identity, 20), each.CheckoutType.toLowerCase(), clockTime(each.Expiration), each.Held ? "held" : each.ReturnedAt ? "returned" : "ended",
    ]),
  );
}
