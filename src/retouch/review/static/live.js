// @ts-check
"use strict";

// The live view: what the server reads in the ledger while a run goes on, as server-sent events.

/**
 * @typedef {{outcomes: Record<string, number>, planned: number | null, confirmed: string[],
 *   unknown: string[], per_minute: number, refusals: number, idle_seconds: number,
 *   has_begun: boolean, is_running: boolean, last: {key: string, index: number}[]}} Progress
 */

const SILENCE_MS = 15_000; // the server tells something every second
const WATCH_MS = 3_000;

class Live {
	/**
	 * @param {Store} store
	 * @param {MarkBook} marks
	 * @param {{changed: () => void, open: (shot: Shot) => void}} actions
	 */
	constructor(store, marks, actions) {
		this.store = store;
		this.marks = marks;
		this.actions = actions;
		this.box = found("live", HTMLElement);
		/** @type {string} the ledger's line that this page knows of */
		this.line = String(store.lines);
		/** @type {string} why nothing more is read, if so */
		this.trouble = "";
		/** @type {EventSource | null} */
		this.events = null;
		this.heardAt = Date.now();
		document.addEventListener("visibilitychange", () => this.listen());
		setInterval(() => this.watch(), WATCH_MS);
		this.listen();
	}

	// A machine that slept, or a server that refused once, leaves a stream that never speaks again.
	watch() {
		if (!this.events) {
			return;
		}
		const isOver = this.events.readyState === EventSource.CLOSED;
		const isSilent = Date.now() - this.heardAt > SILENCE_MS;
		if (isOver || isSilent) {
			this.say(say("not connected: what is shown stands still"));
			this.events.close();
			this.events = null;
			this.listen();
		}
	}

	/** @param {string} text below the figures; the box is shown with it */
	say(text) {
		this.box.hidden = false;
		this.box.querySelector("p")?.remove();
		this.box.append(make("p", { class: "soft", role: "status" }, make("bdi", {}, text)));
	}

	// A browser gives one server six connections for all its tabs: those out of sight let go.
	listen() {
		if (document.visibilityState === "hidden") {
			this.events?.close();
			this.events = null;
		} else if (!this.events) {
			this.heardAt = Date.now();
			this.events = new EventSource(`../events?lines=${this.line}`);
			this.events.addEventListener("error", () => {
				this.say(say("not connected: what is shown stands still"));
			});
			this.hear("trouble", (message) => {
				this.trouble = message;
			});
			this.hear("progress", (content) => this.show(content));
			this.hear("jobs", (content) => {
				for (const job of content) {
					this.store.update(job);
				}
				this.actions.changed();
			});
			this.hear("marks", (content) => {
				for (const mark of content) {
					this.marks.take(mark);
				}
				this.actions.changed();
			});
		}
	}

	/**
	 * @param {string} name
	 * @param {(content: any) => void} take
	 */
	hear(name, take) {
		this.events?.addEventListener(name, (event) => {
			this.line = event.lastEventId;
			this.heardAt = Date.now();
			take(JSON.parse(event.data));
		});
	}

	/** @param {Progress} progress */
	show(progress) {
		const { outcomes, planned } = progress;
		const done = (outcomes.done ?? 0) + (outcomes.reused ?? 0);
		const flying = (outcomes.sent ?? 0) + (outcomes.accepted ?? 0);
		this.box.hidden = false;
		this.box.dataset.running = String(progress.is_running);
		const figures = [
			figure(planned === null ? String(done) : `${done} / ${planned}`, "done"),
			figure(String(flying), "in flight"),
			figure(String(outcomes.failed ?? 0), "failed"),
			figure(String(outcomes.unknown ?? 0), "unknown"),
			figure(String(progress.refusals), "refusals"),
			figure(money(progress.confirmed) || "0.00", "confirmed"),
			progress.unknown.length ? figure(`≤ ${money(progress.unknown)}`, "unknown") : "",
			progress.is_running ? figure(say("{0} a minute", progress.per_minute), "live") : "",
		];
		const bar = make("progress", {
			max: Math.max(1, planned ?? done),
			value: done,
			"aria-label": say("done"),
		});
		const state = progress.is_running
			? progress.idle_seconds > 30
				? say("{0} since the last record", inWords(progress.idle_seconds))
				: ""
			: say(progress.has_begun ? "the run has ended" : "no run has begun");
		this.box.replaceChildren(
			bar,
			make("dl", {}, ...figures),
			make(
				"div",
				{ class: "last", "aria-label": say("last pictures"), role: "group" },
				...this.last(progress),
			),
		);
		this.say(this.trouble || state);
	}

	/** @param {Progress} progress */
	last(progress) {
		return progress.last.flatMap(({ key, index }) => {
			const shot = this.store.byKey.get(key)?.shots[index];
			if (!shot?.picture) {
				return [];
			}
			const button = make(
				"button",
				{ type: "button" },
				make("img", { src: thumbOf(shot), alt: shot.job.source.name }),
			);
			button.addEventListener("click", () => this.actions.open(shot));
			return [button];
		});
	}
}

/** @type {[number, string][]} seconds in each, the longest first */
const UNITS = [
	[86_400, "d"],
	[3_600, "h"],
	[60, "min"],
];

/** @param {number} seconds @returns {string} in the longest unit that there are two of */
function inWords(seconds) {
	const [length, name] = UNITS.find(([each]) => seconds >= 2 * each) ?? [1, "s"];
	return `${Math.floor(seconds / length)} ${name}`;
}

/**
 * @param {string} value
 * @param {string} name
 */
function figure(value, name) {
	return make("div", {}, make("dt", {}, say(name)), make("dd", {}, value));
}
