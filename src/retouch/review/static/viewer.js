// @ts-check
"use strict";

// One picture in full: before and after under a slider, and everything that is known of it.

const VIEWS = [50, 100, 0]; // what the space bar goes through: both, before, after

class Viewer {
	/**
	 * @param {Store} store
	 * @param {MarkBook} marks
	 * @param {(shot: Shot) => void} changed told of a picture of which more is known now
	 */
	constructor(store, marks, changed) {
		this.store = store;
		this.marks = marks;
		this.changed = changed;
		/** @type {Shot | null} */
		this.shot = null;
		this.dialog = found("viewer", HTMLDialogElement);
		this.stage = found("stage", HTMLElement);
		this.before = found("before", HTMLImageElement);
		this.after = found("after", HTMLImageElement);
		this.slider = found("slider", HTMLInputElement);
		this.facts = found("facts", HTMLElement);
		this.slider.addEventListener("input", () => this.divide(this.slider.valueAsNumber));
		this.stage.addEventListener("pointerdown", (event) => this.drag(event));
		this.stage.addEventListener("pointermove", (event) => {
			if (event.buttons & 1) {
				this.drag(event);
			}
		});
	}

	get isOpen() {
		return this.dialog.open;
	}

	/** @param {Shot} shot */
	open(shot) {
		this.shot = shot;
		const { source } = shot.job;
		const hasBefore = Boolean(source.href || source.thumb);
		const hasAfter = shot.picture !== null;
		load(this.before, source.href, source.thumb && `thumbs/${source.thumb}`);
		load(this.after, pictureLink(shot), thumbOf(shot));
		this.before.alt = `${say("before")}: ${source.name}`;
		this.after.alt = `${say("after")}: ${source.name}, ${shot.job.column.prompt}`;
		this.slider.disabled = !(hasBefore && hasAfter);
		this.divide(!hasBefore ? 0 : hasAfter ? 50 : 100);
		this.facts.replaceChildren(...this.factRows(shot));
		if (this.store.isServed) {
			void this.measure(shot);
		}
		if (!this.dialog.open) {
			this.dialog.showModal();
			this.dialog.focus();
		}
	}

	close() {
		this.dialog.close();
	}

	/** @param {Shot} shot asks how it lies over its source, where nobody has measured that yet */
	async measure(shot) {
		const { picture: shown, job, index } = shot;
		if (!shown || shown.moved !== null || !job.source.href) {
			return;
		}
		const query = new URLSearchParams({ key: job.key, index: String(index) });
		const answer = await fetch(`../geometry?${query}`).catch(() => null);
		if (answer?.ok) {
			shown.moved = (await answer.json()).moved;
			this.changed(shot);
		}
	}

	/** Goes on to the next way to look: both, before alone, after alone. */
	turn() {
		if (!this.slider.disabled) {
			const at = VIEWS.indexOf(this.slider.valueAsNumber);
			this.divide(VIEWS[(at + 1) % VIEWS.length] ?? 50);
		}
	}

	/** @param {number} step moves the slider by so many percent */
	nudge(step) {
		if (!this.slider.disabled) {
			this.divide(Math.min(100, Math.max(0, this.slider.valueAsNumber + step)));
		}
	}

	/** @param {number} percent of the width from the left that show "before" */
	divide(percent) {
		this.slider.value = String(percent);
		this.slider.setAttribute("aria-valuetext", `${say("before")} ${percent} %`);
		this.stage.style.setProperty("--at", `${percent}%`);
		this.stage.dataset.at = String(percent);
	}

	/** @param {PointerEvent} event */
	drag(event) {
		if (this.slider.disabled) {
			return;
		}
		const box = this.stage.getBoundingClientRect();
		this.divide(
			Math.round(Math.min(100, Math.max(0, ((event.clientX - box.left) / box.width) * 100))),
		);
	}

	/** @param {Shot} shot shows its mark anew if it is the one in view */
	refresh(shot) {
		if (this.isOpen && this.shot && sameShot(this.shot, shot)) {
			this.facts.replaceChildren(...this.factRows(shot));
		}
	}

	/** @param {Shot} shot */
	factRows(shot) {
		const { job, picture: shown } = shot;
		const mark = this.marks.of(shot);
		/** @type {[string, string | Node][]} */
		const rows = [
			["source", job.source.name],
			["model", job.column.model],
			["prompt", job.column.prompt],
			["", this.store.prompts[job.column.prompt] ?? ""],
			["outcome", sayWord(job.outcome)],
			["mark", mark ? [sayWord(mark.mark), mark.reason].filter(Boolean).join(": ") : ""],
			["cost", wholeCost(job)],
			["tokens", tokensInWords(job)],
			["duration", job.seconds === null ? "" : say("{0} s", job.seconds)],
			["attempts", job.attempts > 1 ? String(job.attempts) : ""],
			["geometry", geometryOf(shot)],
			["warnings", job.warnings.join("\n")],
			["error", job.error.join(": ")],
			["waste", job.waste.map(sayWord).join(", ")],
			["digest", shown ? `${shown.digest}…` : ""],
			["key", job.key],
			["ledger line", String(job.line)],
		];
		if (shown) {
			rows.push([
				"",
				make("a", { href: pictureLink(shot), target: "_blank" }, say("open the picture")),
			]);
		}
		if (job.source.href) {
			rows.push([
				"",
				make("a", { href: job.source.href, target: "_blank" }, say("open the source")),
			]);
		}
		return rows
			.filter(([, value]) => value !== "")
			.flatMap(([name, value]) => [
				make("dt", {}, name ? say(name) : ""),
				make("dd", {}, typeof value === "string" ? make("bdi", {}, value) : value),
			]);
	}
}

/**
 * Shows a picture; where it cannot be shown, its thumbnail.
 * @param {HTMLImageElement} image
 * @param {string} whole
 * @param {string} thumb
 */
function load(image, whole, thumb) {
	image.hidden = !whole && !thumb;
	if (image.hidden) {
		image.removeAttribute("src");
		return;
	}
	image.onerror = () => {
		image.onerror = null;
		if (thumb && whole) {
			image.src = thumb;
		}
	};
	image.src = whole || thumb;
}

/** @param {Job} job */
function wholeCost(job) {
	const parts = [job.confirmed.join(" + ")];
	if (job.unknown.length) {
		parts.push(say("unknown, at most {0}", job.unknown.join(" + ")));
	}
	const cost = parts.filter(Boolean).join("; ");
	return cost && job.pictures.length > 1
		? `${cost} (${say("{0} pictures", job.pictures.length)})`
		: cost;
}

/** @param {Job} job */
function tokensInWords(job) {
	if (job.input === null && job.output === null) {
		return job.total === null ? "" : String(job.total);
	}
	const parts = say("{0} in, {1} out", job.input ?? "?", job.output ?? "?");
	return job.total === null ? parts : `${parts} (${say("total")} ${job.total})`;
}

/** @param {Shot} shot */
function geometryOf(shot) {
	const { picture: shown } = shot;
	const { source } = shot.job;
	if (!shown) {
		return "";
	}
	const was = source.width ? say("was {0}", `${source.width}×${source.height}`) : "";
	return [`${shown.width}×${shown.height}`, was, layOf(shot)].filter(Boolean).join(" · ");
}
