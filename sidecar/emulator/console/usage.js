// Records by hour and dimension: one row of bars for each dimension, over the 24 hours before the emulator's time.

import { byId, clockTime, dayTime, el, fill, short, table } from "./dom.js";

const HOURS = 24;
const SHOWN = 200;
const SVG = "http://www.w3.org/2000/svg";
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });

function bars(sums, hours, name) {
  const most = Math.max(...sums, 0);
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("viewBox", `0 0 ${HOURS * 10} 38`);
  drawn.setAttribute("preserveAspectRatio", "none");
  drawn.setAttribute("role", "img");
  drawn.setAttribute("aria-label", `${name} by hour: ${sums.map((sum, index) => (sum === null ? null : `${hours[index].slice(11, 16)} ${number.format(sum)}`)).filter(Boolean).join(", ")}`);
  sums.forEach((sum, index) => {
    const height = sum === null ? 1 : Math.max(2, most > 0 ? (36 * sum) / most : 2);
    const bar = document.createElementNS(SVG, "rect");
    bar.setAttribute("x", index * 10 + 1);
    bar.setAttribute("y", 38 - height);
    bar.setAttribute("width", 8);
    bar.setAttribute("height", height);
    if (sum === null) bar.setAttribute("class", "none");
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${hours[index].slice(0, 13)}:00Z  ${sum === null ? "no record" : number.format(sum)}`;
    bar.append(title);
    drawn.append(bar);
  });
  return drawn;
}

export function showUsage(records, now) {
  const end = Math.floor(Date.parse(now) / 3600000);
  const hours = Array.from({ length: HOURS }, (_, index) => `${new Date((end - HOURS + 1 + index) * 3600000).toISOString().slice(0, 19)}Z`);
  const places = new Map(hours.map((hour, index) => [hour, index]));
  const dimensions = new Map();
  for (const record of records) {
    const place = places.get(record.Timestamp);
    if (place === undefined) continue;
    const sums = dimensions.get(record.UsageDimension) ?? Array(HOURS).fill(null);
    sums[place] = (sums[place] ?? 0) + Number(record.UsageQuantity);
    dimensions.set(record.UsageDimension, sums);
  }
  fill(byId("chart"), [end, [...dimensions]], () => {
    if (dimensions.size === 0) return [el("p", { class: "hint" }, records.length ? "No record in the last 24 hours." : "No record yet. The hour of a record is one bar.")];
    const rows = [...dimensions].sort().map(([name, sums]) => {
      const total = sums.reduce((sum, each) => sum + (each ?? 0), 0);
      return el("div", { class: "series" }, el("span", { class: "name mono", title: name }, name), bars(sums, hours, name), el("span", { class: "sum mono" }, number.format(total)));
    });
    return [...rows, el("p", { class: "axis" }, el("span", {}, `${hours[0].slice(11, 16)}Z`), el("span", {}, "24 hours"), el("span", {}, `${hours.at(-1).slice(11, 16)}Z`))];
  });
  table(
    byId("records"),
    "Metering records, the newest first",
    [{ title: "Hour" }, { title: "Dimension" }, { title: "Quantity", number: true }, { title: "Pod or customer" }, { title: "Record" }, { title: "Received" }],
    records.slice(-SHOWN).reverse().map((each) => [
      dayTime(each.Timestamp), each.UsageDimension, each.UsageQuantity, short(each.CustomerIdentifier ?? each.LicenseArn ?? each.Identity, 24), short(each.MeteringRecordId), clockTime(each.ReceivedAt),
    ]),
  );
}
