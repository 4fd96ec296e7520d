// @ts-check
"use strict";

// The costs page: the fragment names a number, and the jobs behind it are listed.

const JOBS_AT_ONCE = 100;

/**
 * @typedef {{job: Job, attempt: number, line: number, day: string, amount: string, high: string,
 *   isOpen: boolean, waste: string[]}} ChargeItem
 */

/**
 * @param {Store} store
 * @param {MarkBook} marks
 * @returns {ChargeItem[]}
 */
function readCharges(store, marks) {
	const packed = store.charges;
	const jobs = summedUp(packed.job);
	const lines = summedUp(packed.line);
	/** @type {(at: number | null) => string} */
	const sum = (at) => (at === null ? "" : packed.sums[at]);
	return lines.flatMap((line, at) => {
		const job = store.jobs[jobs[at] ?? -1];
		if (!job) {
			return [];
		}
		const waste = packed.kinds[valueAt(packed.waste, at)].split(" ").filter(Boolean);
		if (!waste.includes("rejected") && marks.rejects(job)) {
			waste.push("rejected");
		}
		return [
			{
				job,
				line,
				waste,
				attempt: valueAt(packed.attempt, at),
				day: packed.days[valueAt(packed.day, at)],
				amount: sum(valueAt(packed.amount, at)),
				high: sum(valueAt(packed.high, at)),
				isOpen: Boolean(valueAt(packed.open, at)),
			},
		];
	});
}

/** @param {ChargeItem} charge */
function stateOf({ amount, high }) {
	return amount ? "confirmed" : high ? "unknown" : "unpriced";
}

/**
 * @param {ChargeItem} charge
 * @param {Record<string, string>} wanted
 */
function isWanted(charge, wanted) {
	const { job } = charge;
	const currency = (charge.amount || charge.high).split(" ")[1] ?? "";
	return (
		(!wanted.currency || wanted.currency === currency) &&
		(!wanted.charge || wanted.charge === stateOf(charge)) &&
		(wanted.model === undefined || wanted.model === job.column.model) &&
		(wanted.prompt === undefined || wanted.prompt === job.column.prompt) &&
		(wanted.label === undefined || wanted.label === job.source.label) &&
		(!wanted.day || wanted.day === charge.day) &&
		(!wanted.waste ||
			(wanted.waste === "any" ? charge.waste.length > 0 : charge.waste.includes(wanted.waste)))
	);
}

/** @param {ChargeItem} charge */
function chargeRow(charge) {
	const { job } = charge;
	const [shot] = job.shots;
	const thumb = shot ? thumbOf(shot) : "";
	const link = `index.html#${new URLSearchParams({ at: `${job.key}.0` })}`;
	const shown = thumb
		? make("img", { src: thumb, class: "job-thumb", alt: job.source.name, loading: "lazy" })
		: make("span", {}, sayWord(job.outcome));
	const amount = charge.amount || (charge.high ? `≤ ${charge.high}` : "");
	const state = [sayWord(stateOf(charge)), ...charge.waste.map(sayWord)].join(", ");
	return make(
		"tr",
		{ "data-key": job.key, "data-line": charge.line },
		make("td", {}, make("a", { href: link }, shown)),
		make("th", { scope: "row" }, make("bdi", {}, job.source.name)),
		make("td", {}, make("bdi", {}, job.column.model), " · ", make("bdi", {}, job.column.prompt)),
		make("td", { class: "day" }, charge.day),
		make("td", { class: "n" }, amount),
		make("td", {}, state),
		make("td", { class: "n" }, String(charge.line)),
		make("td", {}, make("code", {}, job.key)),
	);
}

/** @param {any} packed */
function openCosts(packed) {
	const store = new Store(packed);
	const charges = readCharges(store, new MarkBook(store));
	const section = found("jobs", HTMLElement);
	const body = found("jobs-body", HTMLElement);
	const more = found("jobs-more", HTMLElement);
	/** @type {ChargeItem[]} */
	let wanted = [];

	function addRows() {
		const from = body.childElementCount;
		body.append(...wanted.slice(from, from + JOBS_AT_ONCE).map(chargeRow));
		const left = wanted.length - body.childElementCount;
		more.hidden = left === 0;
		more.textContent = say("{0} more", left);
	}

	function list() {
		const filters = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
		section.hidden = Object.keys(filters).length === 0;
		if (section.hidden) {
			return;
		}
		wanted = charges.filter((each) => isWanted(each, filters));
		body.replaceChildren();
		const jobs = new Set(wanted.map((each) => each.job.key)).size;
		const words = Object.values(filters).map(sayWord).join(" · ");
		found("jobs-count", HTMLElement).textContent = `${words}: ${say("{0} jobs", jobs)}`;
		addRows();
		section.scrollIntoView();
		section.focus({ preventScroll: true });
	}

	more.addEventListener("click", addRows);
	found("jobs-close", HTMLElement).addEventListener("click", () => {
		history.replaceState(null, "", "#");
		section.hidden = true;
	});
	addEventListener("hashchange", list);
	list();
}

translatePage();
for (const each of document.querySelectorAll("[data-word]")) {
	each.textContent = sayWord(each.textContent ?? "");
}
for (const each of document.querySelectorAll("[data-say-key]")) {
	const values = (each.getAttribute("data-say-values") ?? "").split(" ");
	each.textContent = say(each.getAttribute("data-say-key") ?? "", ...values);
}
if (globalThis.retouchGallery) {
	openCosts(globalThis.retouchGallery);
}
document.documentElement.setAttribute("data-ready", "");
