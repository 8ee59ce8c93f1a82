// The calls, the newest first. Each opens into request, answer, identity and rule.

import { byId, clockTime, el } from "./dom.js";

const KEPT = 300;
const HIDDEN = new Set(["productCode", "dryRun"]);
let last = 0;

const isRefused = (call) => call.status === null || call.status >= 400;

function summarize(call) {
  const { usageDimension: dimension, usageQuantity: quantity, timestamp } = call.parameters ?? {};
  if (dimension !== undefined) return `${dimension} ${quantity} at ${timestamp.slice(11, 16)}${call.parameters.dryRun ? " dry run" : ""}`;
  const members = Object.entries(call.parameters ?? {}).filter(([name, value]) => value !== null && value !== false && !HIDDEN.has(name));
  return members.map(([name, value]) => `${name}=${Array.isArray(value) ? value.length : typeof value === "object" ? JSON.stringify(value) : value}`).join(" ");
}

function answer(call) {
  if (call.status === null) return "no answer";
  return call.error ?? `${call.status} OK`;
}

function details(call) {
  const json = (value) => el("pre", {}, JSON.stringify(value, null, 1));
  const rows = [
    ["Time", call.time],
    ["Pod", call.identity ?? "unknown: the signature was not accepted"],
    ["Region", call.region],
    ["Request", call.parameters === null ? "could not be read" : json(call.parameters)],
    ["Answer", call.message ? `${answer(call)}: ${call.message}` : answer(call)],
    ["Result", call.elements === null ? null : json(call.elements)],
    ["Rule", `${call.rule}: ${call.rule_text}`],
    ["Fault", call.fault],
    ["Request ID", call.request_id],
  ];
  return el("dl", {}, ...rows.filter(([, value]) => value !== null && value !== undefined).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function item(call) {
  const tone = call.status === null ? "warn" : isRefused(call) ? "bad" : "good";
  const summary = el(
    "summary", {},
    el("time", { class: "at", datetime: call.time }, clockTime(call.time)),
    el("b", {}, call.operation),
    el("span", { class: "what mono" }, `${call.identity ?? "-"} ${summarize(call)}`),
    el("span", { class: `answer ${tone}` }, answer(call), el("span", { class: "count" }, ` ${call.rule}`)),
  );
  const opened = el("details", { ontoggle: () => opened.open && opened.children.length === 1 && opened.append(details(call)) }, summary);
  return el("li", { class: "new", "data-number": call.number, "data-refused": isRefused(call), "data-text": `${call.operation} ${call.identity} ${summarize(call)} ${answer(call)} ${call.rule}`.toLowerCase() }, opened);
}

export function filterJournal() {
  const wanted = byId("filter").value.trim().toLowerCase();
  for (const each of byId("journal").children) {
    each.hidden = (byId("refused").checked && each.dataset.refused === undefined) || !each.dataset.text.includes(wanted);
  }
}

export async function pollJournal(get) {
  if (byId("pause").checked) return;
  const journal = byId("journal");
  let answered = await get(`calls?after=${last}`);
  if (answered.last < last) {
    // Another process of the emulator counts from 1 again.
    journal.replaceChildren();
    answered = await get("calls?after=0");
  }
  last = answered.last;
  for (const each of [...journal.children]) {
    if (answered.first === null || Number(each.dataset.number) < answered.first) each.remove();
  }
  journal.prepend(...answered.calls.map(item).reverse());
  while (journal.children.length > KEPT) journal.lastElementChild.remove();
  byId("call-count").textContent = last ? String(last) : "";
  byId("no-calls").hidden = journal.children.length > 0;
  if (answered.calls.length > 0) filterJournal();
}
