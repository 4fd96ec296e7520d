// @ts-check
"use strict";

// What is shown and in which order; the choice stands in the URL's fragment, so that a link leads
// to the same pictures.

const FILTERS = ["model", "prompt", "label", "split", "outcome", "mark", "waste"];

/** @type {Record<string, (job: Job) => number>} */
const MEASURES = {
	dearest: amountOf,
	slowest: (job) => job.seconds ?? -1,
	tokens: tokensOf,
};

class Filters {
	/**
	 * @param {Store} store
	 * @param {MarkBook} marks
	 */
	constructor(store, marks) {
		this.store = store;
		this.marks = marks;
		/** @type {Record<string, string>} */
		this.chosen = {};
		this.read();
	}

	/** Takes the choice from the URL's fragment. */
	read() {
		this.chosen = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
	}

	/**
	 * Chooses, and says so in the fragment.
	 * @param {string} name
	 * @param {string} value
	 */
	choose(name, value) {
		if (value) {
			this.chosen[name] = value;
		} else {
			delete this.chosen[name];
		}
		const fragment = new URLSearchParams(this.chosen).toString();
		history.replaceState(null, "", fragment ? `#${fragment}` : "#");
	}

	/** @param {Shot} shot @returns {boolean} whether it is to be shown */
	match(shot) {
		const { job } = shot;
		const chosen = this.chosen;
		const mark = this.marks.of(shot)?.mark ?? "unmarked";
		return (
			(!chosen.model || chosen.model === job.column.model) &&
			(!chosen.prompt || chosen.prompt === job.column.prompt) &&
			(!chosen.label || chosen.label === job.source.label) &&
			(!chosen.split || chosen.split === job.source.split) &&
			(!chosen.outcome || chosen.outcome === job.outcome) &&
			(!chosen.mark || chosen.mark === mark) &&
			(!chosen.waste || this.matchesWaste(job)) &&
			(!chosen.q || this.matchesText(shot, chosen.q.toLowerCase()))
		);
	}

	/** @param {Job} job */
	matchesWaste(job) {
		const kinds = this.marks.rejects(job) ? [...job.waste, "rejected"] : job.waste;
		if (this.chosen.waste === "none") {
			return kinds.length === 0;
		}
		return this.chosen.waste === "any" ? kinds.length > 0 : kinds.includes(this.chosen.waste ?? "");
	}

	/**
	 * @param {Shot} shot
	 * @param {string} text in lower case
	 */
	matchesText({ job, picture }, text) {
		const words = [
			job.source.name,
			job.column.model,
			job.column.prompt,
			job.key,
			picture?.digest ?? "",
		];
		return [...words, ...job.error, ...job.warnings].some((each) =>
			each.toLowerCase().includes(text),
		);
	}

	/** @param {SourceItem[]} sources @param {(at: number) => Job[]} jobsOf */
	sorted(sources, jobsOf) {
		const order = this.chosen.sort ?? "";
		const measure = MEASURES[order];
		if (order === "name") {
			return sources.toSorted((one, other) => (one.name < other.name ? -1 : 1));
		}
		if (!measure) {
			return sources;
		}
		const most = new Map(
			sources.map((each) => [each.at, Math.max(...jobsOf(each.at).map(measure))]),
		);
		return sources.toSorted(
			(one, other) => (most.get(other.at) ?? 0) - (most.get(one.at) ?? 0) || one.at - other.at,
		);
	}

	/** Fills the choices with what there is, and shows which are made. */
	fill() {
		const jobs = this.store.jobs;
		/** @type {Record<string, Set<string>>} */
		const there = {
			model: new Set(this.store.columns.map((each) => each.model)),
			prompt: new Set(this.store.columns.map((each) => each.prompt)),
			label: new Set(this.store.sources.map((each) => each.label)),
			split: new Set(this.store.sources.map((each) => each.split)),
			outcome: new Set(jobs.map((each) => each.outcome)),
			waste: new Set(jobs.flatMap((each) => each.waste)),
		};
		there.waste?.add("rejected");
		for (const [name, values] of Object.entries(there)) {
			values.delete("");
			this.fillOne(name, [...values].toSorted());
		}
		for (const name of [...FILTERS, "sort", "q"]) {
			const field = document.getElementById(`choose-${name}`);
			if (field instanceof HTMLSelectElement || field instanceof HTMLInputElement) {
				field.value = this.chosen[name] ?? "";
			}
		}
	}

	/**
	 * @param {string} name
	 * @param {string[]} values
	 */
	fillOne(name, values) {
		const field = found(`choose-${name}`, HTMLSelectElement);
		const there = new Set([...field.options].map((each) => each.value));
		const isWord = name === "outcome" || name === "waste";
		for (const value of values.filter((each) => !there.has(each))) {
			field.append(make("option", { value }, isWord ? sayWord(value) : value));
		}
		const parent = field.closest("label");
		if (parent && name !== "outcome" && name !== "waste") {
			parent.hidden = values.length < 2 && !this.chosen[name];
		}
	}
}
