// @ts-check
"use strict";

// The gallery page: puts its parts together and listens to keyboard and filters.

const PAPER_ROWS = 300;
const PAPER_WIDTH = 1000; // CSS pixels that fit beside each other on the smaller of A4 and Letter, turned

/** @param {any} packed */
function openGallery(packed) {
	const store = new Store(packed);
	const marks = new MarkBook(store);
	const filters = new Filters(store, marks);
	const viewer = new Viewer(store, marks, (shot) => redraw(shot));
	const asking = found("asking", HTMLDialogElement);
	const reason = found("reason", HTMLInputElement);
	const help = found("help", HTMLDialogElement);
	/** @type {Shot | null} */
	let askedFor = null;

	const grid = new Grid(store, marks, filters, {
		open: (shot) => show(shot),
		mark: (shot, verdict) => judge(shot, verdict),
	});

	/** @param {Shot} shot */
	function show(shot) {
		grid.select(shot);
		viewer.open(shot);
	}

	/** @param {string} text */
	function tell(text) {
		found("told", HTMLElement).textContent = text;
	}

	function count() {
		const { keep, reject } = marks.counts();
		const all = store.jobs.reduce((sum, job) => sum + job.shots.length, 0);
		const parts = [
			grid.count === all ? say("{0} pictures", all) : say("{0} of {1} pictures", grid.count, all),
			keep ? say("{0} kept", keep) : "",
			reject ? say("{0} rejected", reject) : "",
		];
		found("count", HTMLElement).textContent = grid.count
			? parts.filter(Boolean).join(" · ")
			: say("no picture matches");
		found("export", HTMLElement).hidden = store.isServed;
	}

	/** @param {boolean} [isAnew] */
	function layOut(isAnew) {
		grid.layOut(isAnew);
		count();
	}

	/** @param {Shot} shot */
	function redraw(shot) {
		grid.redraw(shot);
		viewer.refresh(shot);
		count();
	}

	/**
	 * @param {Shot} shot
	 * @param {string} verdict
	 */
	function judge(shot, verdict) {
		grid.select(shot, false);
		if (!shot.picture) {
			tell(say("no picture"));
			return;
		}
		if (verdict === "reject") {
			askedFor = shot;
			reason.value = "";
			asking.showModal();
			reason.focus();
			return;
		}
		void write(shot, () => marks.mark(shot, verdict), say("kept"));
	}

	/**
	 * @param {Shot} shot
	 * @param {() => Promise<unknown>} change
	 * @param {string} told
	 */
	async function write(shot, change, told) {
		try {
			await change();
			tell(`${told}: ${shot.job.source.name}`);
		} catch (error) {
			tell(say("not saved: {0}", error instanceof Error ? error.message : String(error)));
		}
		redraw(shot);
	}

	async function undo() {
		try {
			const shot = await marks.undo();
			if (!shot) {
				tell(say("nothing is to be taken back"));
				return;
			}
			grid.select(shot);
			redraw(shot);
			tell(`${say("taken back")}: ${shot.job.source.name}`);
		} catch (error) {
			tell(say("not saved: {0}", String(error)));
		}
	}

	/** @param {"left" | "right" | "up" | "down" | "next"} direction */
	function move(direction) {
		const shot = grid.beside(direction);
		if (shot) {
			grid.select(shot);
			if (viewer.isOpen) {
				viewer.open(shot);
			}
		}
	}

	/** @type {Record<string, () => void>} */
	const keys = {
		ArrowLeft: () => move("left"),
		ArrowRight: () => move("right"),
		ArrowUp: () => move("up"),
		ArrowDown: () => move("down"),
		j: () => move("next"),
		k: () => grid.current && judge(grid.current, "keep"),
		r: () => grid.current && judge(grid.current, "reject"),
		u: () => void undo(),
		"?": () => help.showModal(),
		" ": () => (viewer.isOpen ? viewer.turn() : grid.current && show(grid.current)),
		Enter: () => !viewer.isOpen && grid.current && show(grid.current),
		Home: () => grid.rows.length && grid.select(grid.firstIn(0)),
		End: () => grid.rows.length && grid.select(grid.firstIn(grid.rows.length - 1)),
	};

	document.addEventListener("keydown", (event) => {
		const at = event.target instanceof HTMLElement ? event.target : document.body;
		// What was typed into may have the focus for a moment after its dialog has closed.
		const isTyped = at.matches("input, select, textarea, a, summary");
		const isTyping = (isTyped && !at.closest("dialog:not([open])")) || asking.open || help.open;
		const isButton =
			at instanceof HTMLButtonElement && (event.key === " " || event.key === "Enter");
		if (event.ctrlKey || event.metaKey || event.altKey || isButton) {
			return;
		}
		if (event.shiftKey && viewer.isOpen && event.key.startsWith("Arrow")) {
			viewer.nudge(event.key === "ArrowLeft" ? -5 : 5);
			event.preventDefault();
			return;
		}
		const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
		if (action && (!isTyping || (at === viewer.slider && event.key === " "))) {
			event.preventDefault();
			action();
		}
	});

	asking.addEventListener("close", () => {
		const shot = askedFor;
		askedFor = null;
		if (shot && asking.returnValue === "reject") {
			void write(shot, () => marks.mark(shot, "reject", reason.value.trim()), say("rejected"));
		}
		asking.returnValue = "";
	});
	found("asking-form", HTMLFormElement).addEventListener("submit", () => {
		asking.returnValue = "reject";
	});
	for (const button of document.querySelectorAll("[data-close]")) {
		button.addEventListener("click", () => button.closest("dialog")?.close());
	}
	found("export", HTMLElement).addEventListener("click", () => marks.download());
	found("show-help", HTMLElement).addEventListener("click", () => help.showModal());
	viewer.dialog.addEventListener("close", () => grid.view.focus({ preventScroll: true }));

	for (const name of [...FILTERS, "sort", "q"]) {
		const field = document.getElementById(`choose-${name}`);
		if (field instanceof HTMLSelectElement || field instanceof HTMLInputElement) {
			field.addEventListener("input", () => {
				filters.choose(name, field.value);
				layOut(true);
			});
		}
	}
	addEventListener("hashchange", () => {
		filters.read();
		filters.fill();
		layOut();
		goTo(filters.chosen.at);
	});

	/** @param {string | undefined} at `KEY` or `KEY.INDEX`: the picture that a link leads to */
	function goTo(at) {
		const [key = "", index = "0"] = (at ?? "").split(".");
		const shot = store.byKey.get(key)?.shots[Number(index)];
		if (shot) {
			grid.select(shot);
		}
	}

	addEventListener("beforeprint", () => {
		grid.drawForPaper(PAPER_ROWS);
		const zoom = Math.min(1, PAPER_WIDTH / grid.width);
		grid.view.style.setProperty("--paper-zoom", String(zoom));
		if (grid.rows.length > PAPER_ROWS) {
			tell(say("the first {0} of {1} rows", PAPER_ROWS, grid.rows.length));
		}
	});
	addEventListener("afterprint", () => grid.draw());

	if (matchMedia("(max-width: 46rem)").matches && !Object.keys(filters.chosen).length) {
		found("filters-box", HTMLDetailsElement).open = false;
	}
	filters.fill();
	layOut();
	goTo(filters.chosen.at);
	if (store.isServed) {
		let isDue = false;
		new Live(store, marks, {
			open: show,
			changed: () => {
				if (!isDue) {
					isDue = true;
					setTimeout(() => {
						isDue = false;
						filters.fill();
						layOut();
					}, 500);
				}
			},
		});
	}
}

translatePage();
if (globalThis.retouchGallery) {
	openGallery(globalThis.retouchGallery);
} else {
	found("count", HTMLElement).textContent = say(
		"This page needs its data beside it: data/gallery.js",
	);
}
document.documentElement.setAttribute("data-ready", "");
