// @ts-check
"use strict";

// What the pages say, in English and Chinese: English is the key, so a text that was forgotten
// here is still readable. `{0}`, `{1}` stand for what is put in.

/** @type {Record<string, string>} */
const chinese = {
	"{0} pictures": "{0} 张图片",
	"{0} of {1} pictures": "{0} / {1} 张图片",
	"{0} rejected": "已拒 {0}",
	"{0} kept": "已留 {0}",
	"{0} more": "另有 {0} 项",
	"{0} jobs": "{0} 个任务",
	"{0} of {1} jobs": "{0} / {1} 个任务",
	"a picture": "每张图片",
	accepted: "已受理",
	after: "编辑后",
	all: "全部",
	amount: "金额",
	"any outcome": "任何结果",
	"any label": "任何标签",
	"any mark": "任何评判",
	"any model": "任何模型",
	"any prompt": "任何提示词",
	"any split": "任何划分",
	"any waste": "不论浪费",
	"arrows, j": "方向键、j",
	"aspect changed": "宽高比已变",
	"aspect changed, not measurable": "宽高比已变,无法测量",
	"not measurable": "无法测量",
	reframed: "重新取景",
	"moved {0} %": "偏移 {0} %",
	stretched: "拉伸",
	"in place": "未偏移",
	"the first {0} of {1} rows": "前 {0} 行,共 {1} 行",
	"{0} tok.": "{0} tok.",
	"enough for the {0} jobs left": "够余下 {0} 个任务",
	"lasts for {1} of {0} jobs left": "够余下 {0} 个任务中的 {1} 个",
	"until {0} at {1} a day": "按每天 {1},可到 {0}",
	"at most": "最多",
	attempt: "次数",
	attempts: "尝试次数",
	before: "编辑前",
	"before and after": "编辑前后对比",
	blank: "空白图",
	"budget left": "预算剩余",
	"by waste": "有浪费",
	cancel: "取消",
	"change on the month before": "较上月",
	charged_without_picture: "已扣费、无图片",
	close: "关闭",
	confirmed: "已确认",
	cost: "费用",
	Costs: "费用",
	day: "日期",
	digest: "摘要",
	done: "完成",
	duration: "用时",
	error: "错误",
	Escape: "Esc 键",
	"export marks": "导出评判",
	failed: "失败",
	fewer_than_asked: "数量不足",
	filter: "筛选",
	finished: "已结束",
	Gallery: "图库",
	geometry: "尺寸",
	"in flight": "进行中",
	jobs: "任务",
	"jump to the pictures": "跳到图片",
	keep: "保留",
	kept: "已留",
	key: "键",
	keys: "按键",
	label: "标签",
	"last pictures": "最新图片",
	line: "账本行",
	"ledger line": "账本行",
	"left to do": "待完成",
	live: "实时",
	mark: "评判",
	"marks are kept in this browser until they are exported":
		"评判暂存于本浏览器,导出后放到输出文件夹",
	model: "模型",
	move: "移动",
	"no picture matches": "没有符合条件的图片",
	"no picture": "无图片",
	"no preview": "无预览",
	"not marked": "未评判",
	"not saved: {0}": "未保存:{0}",
	"nothing is to be taken back": "没有可撤销的评判",
	"open the picture": "打开图片",
	"open the source": "打开原图",
	original: "原图",
	other_size: "尺寸不符",
	outcome: "结果",
	"outcome: {0}": "结果:{0}",
	planned: "计划",
	prompt: "提示词",
	refusals: "拒绝",
	refused_but_billed: "扣费后被拒",
	reject: "拒绝",
	"reject with a reason": "拒绝并写明原因",
	rejected: "已拒",
	"rejected: {0}": "已拒:{0}",
	replaced: "已被替换",
	resolved: "已结清",
	reason: "原因",
	"Why is it rejected? (may be empty)": "为何拒绝?(可留空)",
	result: "结果图",
	reused: "复用",
	"{0} a minute": "每分钟 {0}",
	"the run has ended": "运行已结束",
	"no run has begun": "尚未开始运行",
	"not connected: what is shown stands still": "连接已断开,显示内容不再更新",
	"{0} since the last record": "距上条记录 {0}",
	"search names, prompts, keys, errors": "搜索文件名、提示词、键、错误",
	seconds: "秒",
	"{0} s": "{0} 秒",
	sent: "已发送",
	show: "显示",
	sort: "排序",
	"by name": "按名称",
	"as sent": "按发送顺序",
	"dearest first": "费用从高到低",
	"slowest first": "用时从长到短",
	"by tokens": "按 token 数",
	source: "来源",
	"space, enter": "空格、回车",
	"full view; again: before, after, both": "大图;再按:编辑前、编辑后、对比",
	split: "划分",
	tokens: "token",
	"{0} in, {1} out": "输入 {0},输出 {1}",
	"undo the last mark": "撤销上一次评判",
	unchanged: "未改动",
	unknown: "未知",
	"unknown, at most {0}": "未知,最多 {0}",
	unmarked: "未评判",
	unpriced: "无价格",
	unsent: "未发送",
	"up to {0}": "最多 {0}",
	warnings: "警告",
	waste: "浪费",
	"no waste": "无浪费",
	"virtual: a rehearsal, nobody was paid": "虚拟费用:演练,未实际付费",
	"taken back": "已撤销",
	"This page needs its data beside it: data/gallery.js": "缺少同目录数据:data/gallery.js",
	"was {0}": "原为 {0}",
	week: "周",
	"by day": "按日",
	"by week": "按周",
	"Cost review": "费用审阅",
	"by model": "按模型",
	"by prompt": "按提示词",
	"by label": "按标签",
	cumulative: "累计",
	"with unknown": "含未知",
	budget: "预算",
	forecast: "预计",
	share: "占比",
	others: "其他",
	Waste: "浪费",
	Failures: "失败",
	Durations: "用时分布",
	"Where it went": "花在哪里",
	"Over time": "随时间",
	kind: "类别",
	"sent again": "已重发",
	"what to do": "怎么办",
	total: "合计",
	"answered at once": "即时返回",
	"by task": "异步任务",
	"per kept picture": "每张留用图片",
	pictures: "图片",
	"nothing was charged": "没有产生费用",
	"nothing was wasted": "没有浪费",
	"nothing failed": "没有失败",
	"the jobs behind a number": "数字背后的任务",
	"each number leads to its jobs": "点击数字查看对应任务",
	"half under {0} s, nine of ten under {1} s": "半数在 {0} 秒内,九成在 {1} 秒内",
	"without a price": "无价格",
	"each charge counted once": "每笔只计一次",
	"written {0}": "生成于 {0}",
	state: "状态",
	previous: "上一个",
	next: "下一个",
	language: "语言",
};

const isChinese = (navigator.language || "en").toLowerCase().startsWith("zh");

/**
 * A text in the reader's language.
 * @param {string} english
 * @param {...(string | number)} values
 */
function say(english, ...values) {
	const text = (isChinese && chinese[english]) || english;
	return text.replace(/\{(\d)\}/g, (whole, at) => String(values[Number(at)] ?? whole));
}

/**
 * A word of the ledger's (`fewer_than_asked`) as a person says it.
 * @param {string} word
 */
function sayWord(word) {
	return isChinese && chinese[word] ? chinese[word] : word.replaceAll("_", " ");
}

/** Puts what the page says by itself into the reader's language. */
function translatePage() {
	document.documentElement.lang = isChinese ? "zh-CN" : "en";
	for (const each of document.querySelectorAll("[data-say]")) {
		each.textContent = say((each.textContent ?? "").trim());
	}
	for (const name of ["aria-label", "placeholder", "title"]) {
		for (const each of document.querySelectorAll(`[${name}]`)) {
			each.setAttribute(name, say(each.getAttribute(name) ?? ""));
		}
	}
}

/**
 * An element with attributes and children; texts are texts, whatever they hold.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number | boolean | null>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
function make(tag, attributes = {}, ...children) {
	const made = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (value !== null && value !== false) {
			made.setAttribute(name, value === true ? "" : String(value));
		}
	}
	made.append(...children);
	return made;
}

/**
 * The element that the page has under an id.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
function found(id, kind) {
	const element = document.getElementById(id);
	if (!(element instanceof kind)) {
		throw new Error(`#${id} is missing`);
	}
	return element;
}
