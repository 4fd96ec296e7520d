// @ts-check
"use strict";

// The grid: a row a source, a column a model and prompt, variants one below the other. Only rows
// near the view are in the document, so ten thousand pictures scroll like ten.

const CARD_HEIGHT = 208; // both as in style.css
const CARD_WIDTH = 184;
const ROW_GAP = 12;
const OVERSCAN = 600;

/**
 * @typedef {{source: SourceItem, cells: Map<number, Shot[]>, top: number, height: number}} Row
 */

class Grid {
	/**
	 * @param {Store} store
	 * @param {MarkBook} marks
	 * @param {Filters} filters
	 * @param {{open: (shot: Shot) => void, mark: (shot: Shot, verdict: string) => void}} actions
	 */
	constructor(store, marks, filters, actions) {
		this.store = store;
		this.marks = marks;
		this.filters = filters;
		this.actions = actions;
		this.view = found("grid", HTMLElement);
		this.head = found("grid-head", HTMLElement);
		this.body = found("grid-body", HTMLElement);
		/** @type {Row[]} */
		this.rows = [];
		/** @type {Column[]} */
		this.columns = [];
		/** @type {Map<Row, HTMLElement>} */
		this.drawn = new Map();
		/** @type {Shot | null} */
		this.current = null;
		this.count = 0;
		this.isWaiting = false;
		this.view.addEventListener("scroll", () => this.drawSoon(), { passive: true });
		new ResizeObserver(() => this.drawSoon()).observe(this.view);
	}

	/**
	 * Works out anew which rows there are, and draws those in view. What is looked at stays where
	 * it is, whatever comes or grows above it.
	 * @param {boolean} [isAnew] from the top: another choice was made
	 */
	layOut(isAnew = false) {
		const anchor = isAnew ? undefined : this.rows[this.firstBelow(this.view.scrollTop)];
		const offset = anchor ? this.view.scrollTop - anchor.top : 0;
		/** @type {Map<number, Map<number, Shot[]>>} */
		const bySource = new Map();
		/** @type {Set<number>} */
		const used = new Set();
		this.count = 0;
		for (const job of this.store.jobs) {
			for (const shot of job.shots) {
				if (this.filters.match(shot)) {
					const cells = bySource.get(job.source.at) ?? new Map();
					cells.set(job.column.at, [...(cells.get(job.column.at) ?? []), shot]);
					bySource.set(job.source.at, cells);
					used.add(job.column.at);
					this.count += 1;
				}
			}
		}
		this.columns = ordered(this.store.columns.filter((each) => used.has(each.at)));
		const sources = this.store.sources.filter((each) => bySource.has(each.at));
		/** @type {(at: number) => Job[]} */
		const jobsOf = (at) => [...(bySource.get(at)?.values() ?? [])].flat().map((shot) => shot.job);
		let top = 0;
		this.rows = this.filters.sorted(sources, jobsOf).map((source) => {
			const cells = bySource.get(source.at) ?? new Map();
			const most = Math.max(...[...cells.values()].map((each) => each.length));
			const row = { source, cells, top, height: most * CARD_HEIGHT + ROW_GAP };
			top += row.height;
			return row;
		});
		this.drawHead();
		this.body.style.height = `${top}px`;
		this.body.style.width = `${this.width}px`;
		this.head.style.width = `${this.width}px`;
		this.view.setAttribute("aria-rowcount", String(this.rows.length + 1));
		this.view.setAttribute("aria-colcount", String(this.columns.length + 1));
		for (const row of this.drawn.values()) {
			row.remove();
		}
		this.drawn.clear();
		const kept = anchor && this.rows.find((row) => row.source.at === anchor.source.at);
		if (isAnew) {
			this.view.scrollTop = 0;
		} else if (kept && this.view.scrollTop > 0) {
			this.view.scrollTop = kept.top + offset;
		}
		this.draw();
	}

	/** How wide all columns are together, in CSS pixels. */
	get width() {
		return (this.columns.length + 1) * CARD_WIDTH;
	}

	drawHead() {
		const heads = this.columns.map((column, at) => {
			const text = this.store.prompts[column.prompt] ?? column.prompt;
			return make(
				"div",
				{ role: "columnheader", "aria-colindex": at + 2, class: "column-head", title: text },
				make("b", {}, make("bdi", {}, column.prompt)),
				make("span", {}, make("bdi", {}, column.model)),
			);
		});
		const corner = make(
			"div",
			{ role: "columnheader", "aria-colindex": 1, class: "column-head corner" },
			make("b", {}, say("source")),
		);
		this.head.replaceChildren(corner, ...heads);
	}

	drawSoon() {
		if (!this.isWaiting) {
			this.isWaiting = true;
			requestAnimationFrame(() => {
				this.isWaiting = false;
				this.draw();
			});
		}
	}

	/** Draws the rows in view and takes away those that are far from it. */
	draw() {
		const from = this.view.scrollTop - OVERSCAN;
		const to = this.view.scrollTop + this.view.clientHeight + OVERSCAN;
		for (const [row, element] of this.drawn) {
			if (row.top + row.height < from || row.top > to) {
				element.remove();
				this.drawn.delete(row);
			}
		}
		for (let at = this.firstBelow(from); at < this.rows.length; at += 1) {
			const row = this.rows[at];
			if (!row || row.top > to) {
				break;
			}
			if (!this.drawn.has(row)) {
				const element = this.rowElement(row, at);
				this.drawn.set(row, element);
				this.body.append(element);
			}
		}
	}

	/** @param {number} top @returns {number} the first row that ends below it */
	firstBelow(top) {
		let [low, high] = [0, this.rows.length];
		while (low < high) {
			const middle = (low + high) >> 1;
			const row = this.rows[middle];
			if (row && row.top + row.height < top) {
				low = middle + 1;
			} else {
				high = middle;
			}
		}
		return low;
	}

	/**
	 * @param {Row} row
	 * @param {number} at
	 */
	rowElement(row, at) {
		const element = make("div", { role: "row", "aria-rowindex": at + 2, class: "row" });
		element.style.transform = `translateY(${row.top}px)`;
		element.style.height = `${row.height}px`;
		element.append(this.sourceElement(row.source));
		this.columns.forEach((column, place) => {
			const cell = make("div", { role: "gridcell", "aria-colindex": place + 2, class: "cell" });
			cell.append(...(row.cells.get(column.at) ?? []).map((shot) => this.card(shot)));
			element.append(cell);
		});
		return element;
	}

	/** @param {SourceItem} source */
	sourceElement(source) {
		const size = source.width ? `${source.width}×${source.height}` : "";
		const words = [source.label, source.split, size].filter(Boolean).join(" · ");
		return make(
			"div",
			{ role: "rowheader", "aria-colindex": 1, class: "card source" },
			picture(source.thumb ? `thumbs/${source.thumb}` : "", "", source.href),
			make("div", { class: "name", title: source.name }, make("bdi", {}, source.name)),
			make("div", { class: "soft" }, make("bdi", {}, words)),
		);
	}

	/** @param {Shot} shot */
	card(shot) {
		const { job } = shot;
		const mark = this.marks.of(shot);
		const isCurrent = this.current !== null && sameShot(shot, this.current);
		const card = make("div", {
			class: "card",
			id: cardId(shot),
			"data-key": job.key,
			"data-index": shot.index,
			"data-outcome": job.outcome,
			"data-mark": mark?.mark ?? "",
			"aria-current": isCurrent ? "true" : null,
		});
		const notes = notesOf(shot, mark);
		const what = [job.source.name, job.column.prompt, sayWord(job.outcome)].join(", ");
		const shown = shot.picture
			? picture(thumbOf(shot), what, pictureLink(shot))
			: make(
					"div",
					{ class: "no-picture" },
					make("b", {}, [job.outcome, ...job.error.slice(0, 1)].map(sayWord).join(" · ")),
					make("span", {}, job.error[1] ?? ""),
				);
		const verdicts = shot.picture
			? [this.button(shot, "keep", "✓"), this.button(shot, "reject", "✗")]
			: [];
		card.append(
			shown,
			make(
				"div",
				{ class: "foot" },
				make(
					"span",
					{ class: "cost", title: [...job.confirmed, ...job.unknown].join(" + ") },
					costOf(job),
				),
				...verdicts,
			),
			make(
				"div",
				{ class: "soft facts" },
				make("span", {}, effortOf(shot)),
				shot.picture ? make("code", { title: shot.picture.digest }, shortDigest(shot.picture)) : "",
			),
			make("div", { class: "soft" }, sizeOf(shot)),
		);
		if (notes.length) {
			const words = notes.join(" · ");
			card.append(make("div", { class: "notes", title: words }, make("bdi", {}, words)));
		}
		card.addEventListener("click", () => this.actions.open(shot));
		return card;
	}

	/**
	 * @param {Shot} shot
	 * @param {string} verdict
	 * @param {string} sign
	 */
	button(shot, verdict, sign) {
		const button = make(
			"button",
			{ type: "button", class: `verdict ${verdict}`, tabindex: -1, "aria-label": say(verdict) },
			sign,
		);
		button.addEventListener("click", (event) => {
			event.stopPropagation();
			this.actions.mark(shot, verdict);
		});
		return button;
	}

	/** @param {Shot} shot draws one card anew where it is in the document */
	redraw(shot) {
		document.getElementById(cardId(shot))?.replaceWith(this.card(shot));
	}

	// --- The cell with the focus ---

	/**
	 * @param {Shot | null} shot
	 * @param {boolean} [isShown] whether it is to be scrolled into view
	 */
	select(shot, isShown = true) {
		const before = this.current;
		this.current = shot;
		if (before) {
			this.redraw(before);
		}
		if (!shot) {
			this.view.removeAttribute("aria-activedescendant");
			return;
		}
		if (isShown) {
			this.reveal(shot);
		}
		this.redraw(shot);
		this.view.setAttribute("aria-activedescendant", cardId(shot));
	}

	/** @param {Shot} shot scrolls so that it is in view */
	reveal(shot) {
		const place = this.placeOf(shot);
		const row = place && this.rows[place.row];
		if (!row || !place) {
			return;
		}
		const head = this.head.offsetHeight;
		const top = row.top + place.variant * CARD_HEIGHT;
		const { scrollTop, clientHeight, scrollLeft, clientWidth } = this.view;
		if (top < scrollTop) {
			this.view.scrollTop = top;
		} else if (top + CARD_HEIGHT + head > scrollTop + clientHeight) {
			this.view.scrollTop = top + CARD_HEIGHT + head + ROW_GAP - clientHeight;
		}
		const left = place.column * CARD_WIDTH;
		if (left < scrollLeft) {
			this.view.scrollLeft = left;
		} else if (left + 2 * CARD_WIDTH > scrollLeft + clientWidth) {
			this.view.scrollLeft = left + 2 * CARD_WIDTH - clientWidth;
		}
		this.draw();
	}

	/** @param {Shot} shot */
	placeOf(shot) {
		const row = this.rows.findIndex((each) => each.source.at === shot.job.source.at);
		const column = this.columns.findIndex((each) => each.at === shot.job.column.at);
		const shots = this.rows[row]?.cells.get(shot.job.column.at) ?? [];
		const variant = shots.findIndex((each) => sameShot(each, shot));
		return variant < 0 ? null : { row, column, variant };
	}

	/**
	 * The picture beside the current one; without one the first.
	 * @param {"left" | "right" | "up" | "down" | "next"} direction
	 * @returns {Shot | null}
	 */
	beside(direction) {
		const place = this.current && this.placeOf(this.current);
		if (!place) {
			return this.rows.length ? this.firstIn(0) : null;
		}
		const { row, column, variant } = place;
		const stack = this.shotsAt(row, column);
		if (direction === "left" || direction === "right") {
			const step = direction === "left" ? -1 : 1;
			for (let at = column + step; at >= 0 && at < this.columns.length; at += step) {
				const shots = this.shotsAt(row, at);
				if (shots.length) {
					return shots[Math.min(variant, shots.length - 1)] ?? null;
				}
			}
			return null;
		}
		if (direction === "up") {
			return stack[variant - 1] ?? this.inRows(row, -1, column);
		}
		if (direction === "down") {
			return stack[variant + 1] ?? this.inRows(row, 1, column);
		}
		return (
			stack[variant + 1] ??
			this.firstRightOf(row, column) ??
			(row + 1 < this.rows.length ? this.firstIn(row + 1) : null)
		);
	}

	/**
	 * @param {number} row
	 * @param {number} column
	 * @returns {Shot[]}
	 */
	shotsAt(row, column) {
		const at = this.columns[column]?.at;
		return (at === undefined ? undefined : this.rows[row]?.cells.get(at)) ?? [];
	}

	/**
	 * The nearest picture of a column above or below a row; where none is left, of that row's any.
	 * @param {number} row
	 * @param {number} step
	 * @param {number} column
	 */
	inRows(row, step, column) {
		for (let at = row + step; at >= 0 && at < this.rows.length; at += step) {
			const shots = this.shotsAt(at, column);
			if (shots.length) {
				return (step > 0 ? shots[0] : shots.at(-1)) ?? null;
			}
		}
		return null;
	}

	/** @param {number} row @param {number} column */
	firstRightOf(row, column) {
		for (let at = column + 1; at < this.columns.length; at += 1) {
			const [shot] = this.shotsAt(row, at);
			if (shot) {
				return shot;
			}
		}
		return null;
	}

	/** @param {number} row */
	firstIn(row) {
		return this.firstRightOf(row, -1);
	}

	/** Draws every row that is shown, for paper; at most `limit`. @param {number} limit */
	drawForPaper(limit) {
		this.rows.slice(0, limit).forEach((row, at) => {
			if (!this.drawn.has(row)) {
				const element = this.rowElement(row, at);
				this.drawn.set(row, element);
				this.body.append(element);
			}
		});
	}
}

/** @param {Shot} one @param {Shot} other */
function sameShot(one, other) {
	return one.job.key === other.job.key && one.index === other.index;
}

/** @param {Shot} shot */
function cardId(shot) {
	return `at-${shot.job.key}-${shot.index}`;
}

/**
 * A thumbnail; where it is missing, the picture itself, and where that is missing a word.
 * @param {string} thumb
 * @param {string} text
 * @param {string} whole
 */
function picture(thumb, text, whole) {
	const first = thumb || whole;
	if (!first) {
		return make("div", { class: "no-picture" }, make("span", {}, say("no preview")));
	}
	const image = make("img", {
		src: first,
		alt: text,
		loading: "lazy",
		decoding: "async",
		draggable: "false",
	});
	image.addEventListener("error", () => {
		if (whole && image.getAttribute("src") !== whole) {
			image.src = whole;
		} else {
			image.replaceWith(make("div", { class: "no-picture" }, make("span", {}, say("no preview"))));
		}
	});
	return image;
}

/** @param {PictureItem} shown */
function shortDigest({ digest }) {
	return digest === NO_DIGEST ? "" : digest.slice(0, 7);
}

/**
 * What stands over the picture: the mark, and what may be wrong with it.
 * @param {Shot} shot
 * @param {Mark | null} mark
 */
function notesOf({ job }, mark) {
	const notes = [...job.warnings.map((each) => `⚠ ${each}`), ...job.waste.map(sayWord)];
	if (mark?.mark === "reject") {
		notes.unshift(mark.reason ? say("rejected: {0}", mark.reason) : say("rejected"));
	} else if (mark?.mark === "keep") {
		notes.unshift(say("kept"));
	}
	return notes;
}

/** @param {Shot} shot @returns {string} how long it took, and the tokens it took */
function effortOf({ job }) {
	const tokens = tokensOf(job);
	const parts = [
		job.seconds === null ? "" : say("{0} s", job.seconds),
		tokens ? say("{0} tok.", tokens.toLocaleString("en-US")) : "",
	];
	return parts.filter(Boolean).join(" · ");
}

/** @param {Shot} shot */
function sizeOf(shot) {
	const { picture: shown } = shot;
	return shown ? [`${shown.width}×${shown.height}`, layOf(shot)].filter(Boolean).join(" · ") : "";
}
