"""The shapes that providers' exports have: one row a profile, known by its header.

A profile says which column plays which role, in the order of preference, and what is peculiar to
its rows. Where an export has several columns of money, the one compared is what is due before
vouchers. Sources: each provider's page on its export, named at the row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from retouch.dialects.bill import MEASURES, UnreadableCell

ROLES = ("date", "model", *MEASURES, "currency", "id")
Cells = dict[str, str]
Grain = Literal["request", "sum", ""]
QUOTA_PER_UNIT = 500_000  # new-api's and one-api's default: so many units of quota are 1 USD

_UNIT = re.compile(r"[((]([^()()]*)[))]\s*$")


def plain_header(header: str) -> tuple[str, str]:
    """A header in lower case without its unit, and the unit: `费用(元)` is 费用 in 元."""
    found = _UNIT.search(header)
    bare = header[: found.start()] if found else header
    return bare.strip().lower(), found[1].strip() if found else ""


def _as_they_are(cells: Cells, row: Mapping[str, str]) -> Cells:  # noqa: ARG001 - the shape of `adapt`
    return cells


@dataclass(frozen=True, slots=True)
class Profile:
    """One shape. `signature` are headers that only it has together; `columns` maps a role to its
    headers, the first that is there wins; `adapt` mends the cells of one row (roles and, below
    their own headers, all others); `currency` is meant where no column says it; `grain` says
    whether a line is one request or a sum; `says` is told once."""

    name: str
    signature: frozenset[str]
    columns: Mapping[str, tuple[str, ...]]
    grain: Grain = "sum"
    currency: str | None = None
    adapt: Callable[[Cells, Mapping[str, str]], Cells] = _as_they_are
    says: str = ""
    by_words: bool = False  # models are named in words: `Gemini 2.5 Flash Image output tokens`


def _openai(cells: Cells, row: Mapping[str, str]) -> Cells:
    """`gpt-image-1, input`: the model and the kind of what is counted."""
    model, _, kind = cells.get("model", "").partition(", ")
    cells["model"] = model
    quantity, unit = row.get("quantity", ""), row.get("quantity_unit", "").lower()
    if quantity and unit.startswith("token") and "cached" not in kind:
        measure = "input_tokens" if "input" in kind else "output_tokens"
        cells[measure] = quantity
    return cells


def _openrouter(cells: Cells, row: Mapping[str, str]) -> Cells:
    if row.get("cancelled", "").lower() == "true" and not cells.get("amount"):
        cells["category"] = "cancelled"
    return cells


def _quota(cells: Cells, row: Mapping[str, str]) -> Cells:
    """Quota units into USD; rows that are no consumption (top-ups, errors) are no usage."""
    kind = row.get("type", "")
    if kind and kind not in ("2", "消费", "consume"):
        cells["category"] = "top-up or system"
    quota = cells.pop("quota", "")
    if quota:
        try:
            per_unit = Decimal(row.get("quota_per_unit") or QUOTA_PER_UNIT)
            cells["amount"] = format(Decimal(quota) / per_unit, "f")
        except InvalidOperation:
            raise UnreadableCell(f"`{quota}` is no number (quota)") from None
    return cells


def _gcp(cells: Cells, row: Mapping[str, str]) -> Cells:
    if "tax" in row.get("cost type", "").lower() or cells.get("model", "").lower() == "tax":
        cells["category"] = "tax"
    return cells


def _unit_named(cells: Cells, row: Mapping[str, str]) -> Cells:
    """用量 with its 单位: requests where it counts calls, images where it counts pictures."""
    unit, quantity = row.get("单位", row.get("用量单位", "")), cells.pop("quantity", "")
    if quantity and unit in ("次", "千次"):
        cells["requests"] = quantity if unit == "次" else str(Decimal(quantity) * 1000)
    elif quantity and unit in ("张", "个"):
        cells["images"] = quantity
    return cells


_FOCUS_UNITS = {"requests": "requests", "images": "images", "tokens": "total_tokens"}


def _focus(cells: Cells, row: Mapping[str, str]) -> Cells:
    """FOCUS: what is no Usage is a line of its own; ConsumedQuantity by its unit."""
    category = row.get("chargecategory", "")
    if category.lower() not in ("usage", "purchase", ""):
        cells["category"] = category.lower()
    quantity, unit = cells.pop("quantity", ""), row.get("consumedunit", "").lower()
    cells[_FOCUS_UNITS.get(unit, "quantity")] = quantity
    return cells


_AWS_USAGE = ("", "usage", "discountedusage", "savingsplancoveredusage")


def _aws(cells: Cells, row: Mapping[str, str]) -> Cells:
    """A line is what its LineItemType says: usage, or tax, credit, refund, a discount or a fee."""
    said = row.get("lineitem/lineitemtype") or row.get("line_item_line_item_type") or ""
    if said.lower() not in _AWS_USAGE:
        cells["category"] = said.lower()
    return cells


def _azure(cells: Cells, row: Mapping[str, str]) -> Cells:
    """Days come as MM/DD/YYYY whatever the user's language; a charge that is no usage says so."""
    month, _, rest = cells.get("date", "").partition("/")
    day, _, year = rest.partition("/")
    if year:
        cells["date"] = f"{year}-{month}-{day}"
    said = row.get("chargetype", "").lower()
    if said not in ("", "usage"):
        cells["category"] = said
    return cells


PROFILES: tuple[Profile, ...] = (
    # FOCUS 1.0 to 1.2 (focus.finops.org): columns of that specification's names.
    Profile(
        "focus",
        frozenset({"billedcost", "chargecategory", "chargeperiodstart"}),
        {
            "date": ("chargeperiodstart",),
            "model": ("skuid", "resourcename", "resourceid", "servicename"),
            "amount": ("billedcost",),
            "currency": ("billingcurrency",),
            "quantity": ("consumedquantity",),
        },
        adapt=_focus,
    ),
    # AWS Cost and Usage Report and its successor in Data Exports, CUR 2.0 (docs.aws.amazon.com/cur,
    # Line item details; table dictionary): a row an hour or day and usage type, in UTC.
    Profile(
        "aws",
        frozenset({"lineitem/usagestartdate", "lineitem/unblendedcost"}),
        {
            "date": ("lineitem/usagestartdate",),
            "model": ("lineitem/lineitemdescription", "lineitem/usagetype"),
            "amount": ("lineitem/unblendedcost",),
            "currency": ("lineitem/currencycode",),
        },
        adapt=_aws,
        by_words=True,
    ),
    Profile(
        "aws-cur2",
        frozenset({"line_item_usage_start_date", "line_item_unblended_cost"}),
        {
            "date": ("line_item_usage_start_date",),
            "model": ("line_item_line_item_description", "line_item_usage_type"),
            "amount": ("line_item_unblended_cost",),
            "currency": ("line_item_currency_code",),
        },
        adapt=_aws,
        by_words=True,
    ),
    # Azure cost and usage details of an Enterprise or a Customer Agreement
    # (learn.microsoft.com, dataset-schema/cost-usage-details-ea and -mca): a row a day and meter.
    Profile(
        "azure",
        frozenset({"costinbillingcurrency", "metername", "chargetype"}),
        {
            "date": ("date",),
            "model": ("metername",),
            "amount": ("costinbillingcurrency",),
            "currency": ("billingcurrencycode", "billingcurrency"),
        },
        adapt=_azure,
        by_words=True,
    ),
    # OpenAI: the costs export of the usage dashboard, line items `MODEL, KIND`.
    Profile(
        "openai",
        frozenset({"start_time", "amount_value", "amount_currency", "line_item"}),
        {
            "date": ("start_time_iso", "start_time"),
            "model": ("line_item",),
            "amount": ("amount_value",),
            "currency": ("amount_currency",),
        },
        currency="USD",
        adapt=_openai,
    ),
    # OpenRouter: the activity export, a row a generation, credits are USD.
    Profile(
        "openrouter",
        frozenset({"generation_id", "cost_total", "model_permaslug"}),
        {
            "date": ("created_at",),
            "model": ("model_permaslug",),
            "amount": ("cost_total",),
            "input_tokens": ("tokens_prompt",),
            "output_tokens": ("tokens_completion",),
            "id": ("generation_id",),
        },
        "request",
        "USD",
        _openrouter,
    ),
    # LiteLLM: the table LiteLLM_SpendLogs, spend in USD.
    Profile(
        "litellm",
        frozenset({"request_id", "spend", "starttime", "custom_llm_provider"}),
        {
            "date": ("starttime",),
            "model": ("model_group", "model"),
            "amount": ("spend",),
            "input_tokens": ("prompt_tokens",),
            "output_tokens": ("completion_tokens",),
            "total_tokens": ("total_tokens",),
            "id": ("request_id",),
        },
        "request",
        "USD",
    ),
    # new-api and one-api: the table logs; created_at in Unix seconds, quota in units.
    Profile(
        "new-api",
        frozenset({"created_at", "model_name", "quota"}),
        {
            "date": ("created_at",),
            "model": ("model_name",),
            "quota": ("quota",),
            "input_tokens": ("prompt_tokens",),
            "output_tokens": ("completion_tokens",),
            "id": ("request_id", "id"),
        },
        "request",
        "USD",
        _quota,
        says="500,000 units of quota are taken for 1 USD; say otherwise by --quota-per-unit, "
        "--currency",
    ),
    # Google Cloud: the cost table of the console, a row a SKU.
    Profile(
        "gcp",
        frozenset({"service description", "sku description"}),
        {
            "date": ("usage start date", "usage start time", "day"),
            "model": ("sku description",),
            "amount": ("cost", "unrounded cost", "subtotal"),
            "currency": ("currency",),
        },
        adapt=_gcp,
        by_words=True,
    ),
    # Volcengine 费用中心 明细账单: 优惠后金额 is due before 代金券.
    Profile(
        "volcengine",
        frozenset({"费用时间", "配置名称", "计费项"}),
        {
            "date": ("费用时间", "消费时间", "账期"),
            "model": ("配置名称", "实例名称"),
            "amount": ("优惠后金额", "应付金额"),
            "quantity": ("用量",),
            "currency": ("币种",),
        },
        currency="CNY",
        adapt=_unit_named,
    ),
    # Aliyun 费用与成本 明细账单: 应付金额 is due before 代金券抵扣.
    Profile(
        "aliyun",
        frozenset({"消费时间", "应付金额", "产品code"}),
        {
            "date": ("消费时间", "账单日期", "账期"),
            "model": ("模型名称", "模型", "计费项", "规格", "商品名称"),
            "amount": ("应付金额",),
            "quantity": ("用量",),
            "currency": ("币种",),
            "id": ("订单号/账单号",),
        },
        currency="CNY",
        adapt=_unit_named,
    ),
    # Tencent Cloud 费用中心 资源账单/明细账单: 优惠后总价 is due before 代金券.
    Profile(
        "tencent",
        frozenset({"扣费时间", "产品名称", "优惠后总价"}),
        {
            "date": ("扣费时间", "使用开始时间"),
            "model": ("模型名称", "组件名称", "子产品名称"),
            "amount": ("优惠后总价",),
            "quantity": ("组件用量", "用量"),
            "currency": ("币种",),
        },
        currency="CNY",
        adapt=_unit_named,
    ),
    # Qiniu 财务 账单明细.
    Profile(
        "qiniu",
        frozenset({"计费月", "模型", "费用"}),
        {
            "date": ("日期", "计费月"),
            "model": ("模型",),
            "amount": ("费用",),
            "input_tokens": ("输入token",),
            "output_tokens": ("输出token",),
            "images": ("图片数",),
            "requests": ("请求数",),
        },
        currency="CNY",
    ),
    # fal: the usage export of the billing page, a row an endpoint and day.
    Profile(
        "fal",
        frozenset({"endpoint_id", "unit_price"}),
        {
            "date": ("date", "bucket", "start"),
            "model": ("endpoint_id",),
            "amount": ("cost", "total", "amount"),
            "currency": ("currency",),
            "id": ("request_id",),
        },
        currency="USD",
    ),
)
GENERIC = Profile(
    "generic",
    frozenset(),
    {
        "date": ("date", "day", "time", "timestamp", "created_at", "month", "日期", "时间",
                 "账单日期", "消费时间", "账期", "月份"),
        "model": ("model", "model_name", "模型", "模型名称"),
        "amount": ("amount", "cost", "charge", "fee", "total_cost", "金额", "费用", "应付金额"),
        "requests": ("requests", "request_count", "calls", "请求数", "调用次数"),
        "images": ("images", "image_count", "quantity", "图片数", "张数"),
        "input_tokens": ("input_tokens", "prompt_tokens", "输入token", "输入tokens"),
        "output_tokens": ("output_tokens", "completion_tokens", "输出token", "输出tokens"),
        "total_tokens": ("total_tokens", "tokens"),
        "currency": ("currency", "币种"),
        "id": ("id", "request_id", "task_id", "请求id", "任务id"),
    },
    "",
)  # fmt: skip
NAMES = tuple(each.name for each in (*PROFILES, GENERIC))


def profile_named(name: str) -> Profile | None:
    """The profile of that name; `one-api` is new-api's."""
    name = {"one-api": "new-api", "volc": "volcengine"}.get(name, name)
    return next((each for each in (*PROFILES, GENERIC) if each.name == name), None)


def profile_of(header: frozenset[str]) -> Profile:
    """The first profile whose signature a header (plain, lower case) has whole, else GENERIC."""
    return next((each for each in PROFILES if each.signature <= header), GENERIC)


_MONEY = re.compile(
    r"amount|cost|fee\b|charge(?!category|period|desc|class|freq)|spend|paid|credit|discount|"
    r"voucher|\btax|vat|balance|金额|费用(?!时间)|原价|总价|优惠|现金|代金券|应付|实付|抹零|税"
)
_NO_MONEY = re.compile(r"price|单价|currency|币种|_id\b|time|date|type|name|category|折扣率")


def looks_like_money(header: str) -> bool:
    """Whether a column of that header (plain, lower case) may hold sums of money."""
    return bool(_MONEY.search(header)) and not _NO_MONEY.search(header)
