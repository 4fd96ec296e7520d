// @ts-check
"use strict";

// Reads the compact document (review/document.py) into Jobs and Shots. A Shot is what one card
// shows: one picture of a Job, or the Job itself where it has none.

/**
 * @typedef {{name: string, href: string, thumb: string, label: string, split: string,
 *   width: number | null, height: number | null, at: number}} SourceItem
 * @typedef {{model: string, prompt: string, at: number}} Column
 * @typedef {{path: string, digest: string, width: number, height: number,
 *   moved: number | null}} PictureItem
 * @typedef {{key: string, source: SourceItem, column: Column, outcome: string, line: number,
 *   day: string, attempts: number, confirmed: string[], unknown: string[],
 *   input: number | null, output: number | null, total: number | null, seconds: number | null,
 *   task: number, warnings: string[], error: string[], waste: string[],
 *   pictures: PictureItem[], shots: Shot[], at: number}} Job
 * @typedef {{job: Job, index: number, picture: PictureItem | null}} Shot
 * @typedef {{at: string, key: string, index: number | null, mark: string, reason: string}} Mark
 * @typedef {{all: any} | any[]} Packed
 */

/**
 * @param {Packed} column
 * @param {number} at
 */
function valueAt(column, at) {
	return Array.isArray(column) ? column[at] : column.all;
}

/** @param {number[]} differences */
function summedUp(differences) {
	let sum = 0;
	return differences.map((each) => {
		sum += each;
		return sum;
	});
}

/**
 * The `at`-th of digests written one after the other in base64url, as hex.
 * @param {string} text
 * @param {number} at
 * @param {number} digits hex digits of each
 */
function hexAt(text, at, digits) {
	const length = Math.ceil((digits * 2) / 3);
	const piece = text
		.slice(at * length, (at + 1) * length)
		.replaceAll("-", "+")
		.replaceAll("_", "/");
	let hex = "";
	for (const character of atob(piece)) {
		hex += character.charCodeAt(0).toString(16).padStart(2, "0");
	}
	return hex;
}

/** @param {string} name a path; @returns {string} its last part without what follows its last dot */
function stemOf(name) {
	const last = name.slice(name.lastIndexOf("/") + 1);
	const dot = last.lastIndexOf(".");
	return dot > 0 ? last.slice(0, dot) : last;
}

/** @param {string} path a path as a link: every part of it is a name, never a URL's syntax */
function linkTo(path) {
	return path.split("/").map(encodeURIComponent).join("/");
}

const NO_DIGEST = "0".repeat(32);

class Store {
	/** @param {any} packed the document of data/gallery.js */
	constructor(packed) {
		/** @type {string} */
		this.name = packed.name;
		/** @type {string} */
		this.command = packed.command;
		this.isVirtual = Boolean(packed.virtual);
		this.isServed = Boolean(packed.served);
		/** @type {Record<string, string>} */
		this.prompts = packed.prompts;
		/** @type {Mark[]} */
		this.givenMarks = packed.marks;
		/** @type {SourceItem[]} */
		this.sources = [];
		/** @type {Column[]} */
		this.columns = packed.columns.map(
			(/** @type {[string, string]} */ [model, prompt], /** @type {number} */ at) => ({
				model,
				prompt,
				at,
			}),
		);
		/** @type {Job[]} */
		this.jobs = [];
		/** @type {Map<string, Job>} */
		this.byKey = new Map();
		this.charges = packed.charges;
		/** @type {number} how many of the ledger's lines this is of */
		this.lines = packed.lines;
		this.readSources(packed.sources);
		this.readJobs(packed);
	}

	/** @param {any} packed */
	readSources(packed) {
		packed.name.forEach((/** @type {string} */ name, /** @type {number} */ at) => {
			const base = valueAt(packed.base, at);
			const digest = hexAt(packed.thumb, at, 32);
			const path = base === null ? "" : packed.bases[base] + (valueAt(packed.rest, at) || name);
			this.sources.push({
				name,
				href: path && linkTo(path),
				thumb: digest === NO_DIGEST ? "" : `${digest}.webp`,
				label: valueAt(packed.label, at),
				split: valueAt(packed.split, at),
				width: valueAt(packed.width, at),
				height: valueAt(packed.height, at),
				at,
			});
		});
	}

	/** @param {any} packed */
	readJobs(packed) {
		const { jobs, pictures, texts, sums } = packed;
		const sources = summedUp(jobs.source);
		const lines = summedUp(jobs.line);
		/** @type {(table: string[], numbers: number[] | 0) => string[]} */
		const read = (table, numbers) => (numbers || []).map((each) => table[each] ?? "");
		let next = 0;
		lines.forEach((line, at) => {
			const source = this.sources[sources[at] ?? 0];
			const column = this.columns[valueAt(jobs.column, at)];
			if (!source || !column) {
				return;
			}
			const count = valueAt(jobs.pictures, at);
			const stem = stemOf(source.name);
			const made = [];
			for (let picture = next; picture < next + count; picture += 1) {
				const folder = pictures.folders[valueAt(pictures.folder, picture)];
				const pattern = pictures.patterns[valueAt(pictures.pattern, picture)];
				const name = pattern.startsWith("*") ? stem + pattern.slice(1) : pattern;
				made.push({
					path: folder ? `${folder}/${name}` : name,
					digest: hexAt(pictures.digest, picture, 32),
					width: valueAt(pictures.width, picture),
					height: valueAt(pictures.height, picture),
					moved: valueAt(pictures.moved, picture),
				});
			}
			next += count;
			this.add({
				key: hexAt(jobs.key, at, 64),
				source,
				column,
				line,
				outcome: texts[valueAt(jobs.outcome, at)],
				day: texts[valueAt(jobs.day, at)],
				attempts: valueAt(jobs.attempts, at),
				confirmed: read(sums, valueAt(jobs.confirmed, at)),
				unknown: read(sums, valueAt(jobs.unknown, at)),
				input: valueAt(jobs.input, at),
				output: valueAt(jobs.output, at),
				total: valueAt(jobs.total, at),
				seconds: valueAt(jobs.seconds, at),
				task: valueAt(jobs.task, at),
				warnings: read(texts, valueAt(jobs.warnings, at)),
				error: read(texts, valueAt(jobs.error, at)),
				waste: read(texts, valueAt(jobs.waste, at)),
				pictures: made,
			});
		});
	}

	/**
	 * Takes in one Job, or what has become of it.
	 * @param {Omit<Job, "shots" | "at">} given
	 */
	add(given) {
		const known = this.byKey.get(given.key);
		const job = /** @type {Job} */ (given);
		job.at = known ? known.at : this.jobs.length;
		/** @type {(PictureItem | null)[]} */
		const pictures = job.pictures.length ? job.pictures : [null];
		job.shots = pictures.map((picture, index) => ({ job, index, picture }));
		this.jobs[job.at] = job;
		this.byKey.set(job.key, job);
	}

	/**
	 * Takes in one Job as the live view tells it (`Document.plain`).
	 * @param {any} plain
	 */
	update(plain) {
		let source = this.sources.find((each) => each.name === plain.source.name);
		if (!source) {
			source = { ...plain.source, href: plain.source.href, at: this.sources.length };
			this.sources.push(/** @type {SourceItem} */ (source));
		}
		let column = this.columns.find(
			(each) => each.model === plain.model && each.prompt === plain.prompt,
		);
		if (!column) {
			column = { model: plain.model, prompt: plain.prompt, at: this.columns.length };
			this.columns.push(column);
		}
		this.add({ ...plain, source, column });
	}
}

/** @param {Column[]} columns @returns {Column[]} those of one prompt beside each other */
function ordered(columns) {
	const prompts = [...new Set(columns.map((each) => each.prompt))];
	const models = [...new Set(columns.map((each) => each.model))];
	return columns.toSorted(
		(one, other) =>
			prompts.indexOf(one.prompt) - prompts.indexOf(other.prompt) ||
			models.indexOf(one.model) - models.indexOf(other.model),
	);
}

/** @param {Shot} shot @returns {string} where its thumbnail is, relative to the pages */
function thumbOf(shot) {
	return shot.picture && shot.picture.digest !== NO_DIGEST
		? `thumbs/${shot.picture.digest}.webp`
		: "";
}

/** @param {Shot} shot @returns {string} where the picture itself is, relative to the pages */
function pictureLink(shot) {
	return shot.picture ? `../${linkTo(shot.picture.path)}` : "";
}

/** @param {string[]} sums amounts with their currency; @returns {string} one text */
function money(sums) {
	return sums.map(shortAmount).join(" + ");
}

/** @param {string} sum `0.271532 CNY`; @returns {string} to four places, so that it can be compared by eye */
function shortAmount(sum) {
	const [amount = "", currency = ""] = sum.split(" ");
	if (currency === "XXX") {
		return "none: local"; // ISO 4217's code for no currency: a server of one's own
	}
	const shown = Number.parseFloat(amount).toLocaleString("en-US", {
		minimumFractionDigits: 2,
		maximumFractionDigits: 4,
	});
	return `${shown} ${currency}`;
}

/** @param {Job} job @returns {string} what it cost, in short */
function costOf(job) {
	const parts = [];
	if (job.confirmed.length) {
		parts.push(money(job.confirmed));
	}
	if (job.unknown.length) {
		parts.push(`≤ ${money(job.unknown)}`);
	}
	return parts.join(" + ");
}

/** @param {Job} job @returns {number} for sorting */
function amountOf(job) {
	return [...job.confirmed, ...job.unknown].reduce((sum, each) => sum + Number.parseFloat(each), 0);
}

const SAME_ASPECT = 0.02;
const MOVED = 20; // thousandths of a side: pictures/geometry.py has the same

/**
 * How an edit lies over its source, in words; "" where nothing is to be said.
 * @param {Shot} shot
 */
function layOf({ job: { source }, picture }) {
	if (!picture || !source.width || !source.height) {
		return "";
	}
	const change = (picture.width * source.height) / (picture.height * source.width);
	const isChanged = Math.max(change, 1 / change) > 1 + SAME_ASPECT;
	if (picture.moved === null) {
		return isChanged ? say("aspect changed") : "";
	}
	if (picture.moved < 0) {
		return say(isChanged ? "aspect changed, not measurable" : "not measurable");
	}
	if (picture.moved > MOVED) {
		return say(isChanged ? "reframed" : "moved {0} %", picture.moved / 10);
	}
	return say(isChanged ? "stretched" : "in place");
}

/** @param {Job} job @returns {number} all tokens of its last answer */
function tokensOf(job) {
	return job.total ?? (job.input ?? 0) + (job.output ?? 0);
}
