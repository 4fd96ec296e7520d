// @ts-check
"use strict";

// Marks: what stands of each picture, and how a new one is kept. A served page writes it to
// review.jsonl at once; a page from disk keeps it in the browser until it is exported.

class MarkBook {
	/** @param {Store} store */
	constructor(store) {
		/** @type {Map<string, Mark>} */
		this.jobs = new Map();
		/** @type {Map<string, Map<number, Mark>>} */
		this.pictures = new Map();
		/** @type {{shot: Shot, before: Mark | null}[]} */
		this.done = [];
		this.store = store;
		this.place = `retouch marks ${location.pathname} ${store.jobs[0]?.key ?? ""}`;
		for (const mark of store.givenMarks) {
			this.take(mark);
		}
		/** @type {Mark[]} */
		this.unsaved = store.isServed ? [] : this.remembered();
		for (const mark of this.unsaved) {
			this.take(mark);
		}
	}

	/** @param {Mark} mark */
	take(mark) {
		if (mark.index === null) {
			this.jobs.set(mark.key, mark);
			this.pictures.delete(mark.key);
			return;
		}
		const ofJob = this.pictures.get(mark.key) ?? new Map();
		ofJob.set(mark.index, mark);
		this.pictures.set(mark.key, ofJob);
	}

	/** @param {Shot} shot @returns {Mark | null} what stands of a picture */
	of(shot) {
		const mark = this.pictures.get(shot.job.key)?.get(shot.index) ?? this.jobs.get(shot.job.key);
		return !mark || mark.mark === "none" ? null : mark;
	}

	/** @param {Job} job @returns {boolean} whether it is to be done again: as `Marks.rejected_keys` */
	rejects(job) {
		const said = job.shots.map((shot) => this.of(shot)?.mark);
		return said.includes("reject") && !said.includes("keep");
	}

	/** @returns {{keep: number, reject: number}} */
	counts() {
		const counted = { keep: 0, reject: 0 };
		for (const job of this.store.jobs) {
			for (const shot of job.shots) {
				const mark = this.of(shot)?.mark;
				if (mark === "keep" || mark === "reject") {
					counted[mark] += 1;
				}
			}
		}
		return counted;
	}

	/**
	 * Marks a picture, and remembers how it was.
	 * @param {Shot} shot
	 * @param {string} verdict
	 * @param {string} reason
	 */
	async mark(shot, verdict, reason = "") {
		const before = this.of(shot);
		await this.write(shot, verdict, reason);
		this.done.push({ shot, before });
	}

	/** Takes back the last mark made here; @returns {Promise<Shot | null>} the picture it was of */
	async undo() {
		const last = this.done.pop();
		if (!last) {
			return null;
		}
		await this.write(last.shot, last.before?.mark ?? "none", last.before?.reason ?? "");
		return last.shot;
	}

	/**
	 * @param {Shot} shot
	 * @param {string} verdict
	 * @param {string} reason
	 */
	async write(shot, verdict, reason) {
		const mark = { key: shot.job.key, index: shot.index, mark: verdict, reason };
		if (this.store.isServed) {
			const answer = await fetch("../marks", {
				method: "POST",
				headers: { "Content-Type": "application/json" },
				body: JSON.stringify(mark),
			});
			if (!answer.ok) {
				throw new Error(await answer.text());
			}
			this.take(await answer.json());
			return;
		}
		const whole = { at: new Date().toISOString(), ...mark };
		this.take(whole);
		this.unsaved.push(whole);
		try {
			localStorage.setItem(this.place, JSON.stringify(this.unsaved));
		} catch {
			// Some browsers keep nothing for pages from disk; the export still has them.
		}
	}

	/** @returns {Mark[]} marks of an earlier visit that were not exported into the folder since */
	remembered() {
		try {
			/** @type {Mark[]} */
			const kept = JSON.parse(localStorage.getItem(this.place) ?? "[]");
			const newest = this.store.givenMarks.at(-1)?.at ?? "";
			return kept.filter((mark) => mark.at > newest);
		} catch {
			return [];
		}
	}

	/** @returns {string} a whole review.jsonl: what was given, then what was marked here */
	lines() {
		return [...this.store.givenMarks, ...this.unsaved]
			.map(
				({ at, key, index, mark, reason }) =>
					`${JSON.stringify({ v: 1, at, key, index, mark, reason })}\n`,
			)
			.join("");
	}

	/** Hands review.jsonl to the reader as a download. */
	download() {
		const url = URL.createObjectURL(new Blob([this.lines()], { type: "application/jsonl" }));
		const link = make("a", { href: url, download: "review.jsonl" });
		document.body.append(link);
		link.click();
		link.remove();
		setTimeout(() => URL.revokeObjectURL(url), 10_000);
	}
}
