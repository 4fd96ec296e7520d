"""Each column of each known shape arrives where it belongs: a row of it, and the line it means."""

from __future__ import annotations

from decimal import Decimal

import pytest

from retouch.dialects.bill import Bill
from retouch.errors import InputRefused
from retouch.reconcile.profiles import GENERIC, NAMES, PROFILES, profile_named
from retouch.reconcile.reading import Said, read_bill

FOCUS = "BilledCost,BillingCurrency,ChargeCategory,ChargePeriodStart,ConsumedQuantity,ConsumedUnit"
OPENAI = "start_time,end_time,amount_value,amount_currency,line_item,quantity,quantity_unit"
GCP = "Service description,SKU description,Usage start date,Cost ($),Currency,Cost type"
VOLC = "费用时间,配置名称,计费项,优惠后金额,币种,用量,单位"
ALIYUN = "消费时间,产品Code,模型名称,应付金额,币种,用量,用量单位,订单号/账单号"
QUOTA = "id,created_at,type,model_name,quota,prompt_tokens,completion_tokens"
ROUTER = (
    "generation_id,created_at,cost_total,model_permaslug,tokens_prompt,tokens_completion,cancelled"
)
LITELLM = (
    "request_id,spend,startTime,custom_llm_provider,model_group,model,prompt_tokens,"
    "completion_tokens,total_tokens"
)
QINIU = "计费月,模型,费用,输入Token,输出Token,图片数,请求数"
AWS = (
    "lineItem/UsageStartDate,lineItem/UnblendedCost,lineItem/LineItemDescription,"
    "lineItem/CurrencyCode,lineItem/LineItemType"
)
AZURE = "Date,MeterName,CostInBillingCurrency,BillingCurrencyCode,ChargeType"

ROWS: list[tuple[str, str, tuple[str, str, str | None, str], dict[str, str]]] = [
    # header, row, (day, model, currency, category), measures
    (f"{FOCUS},SkuId", "0.3,USD,Usage,2026-10-02,3,Requests,m",
     ("2026-10-02", "m", "USD", ""), {"amount": "0.3", "requests": "3"}),
    (f"{FOCUS},SkuId", "0.3,USD,Purchase,2026-10-02,4,IMAGES,m",
     ("2026-10-02", "m", "USD", ""), {"amount": "0.3", "images": "4"}),
    (f"{FOCUS},SkuId", "0.3,USD,,2026-10-02,5,Tokens,m",
     ("2026-10-02", "m", "USD", ""), {"amount": "0.3", "total_tokens": "5"}),
    (f"{FOCUS},SkuId", "0.3,USD,Usage,2026-10-02,5,Hours,m",
     ("2026-10-02", "m", "USD", ""), {"amount": "0.3"}),
    (f"{FOCUS},SkuId", "-3,USD,Credit,2026-10-02,,,m",
     ("2026-10-02", "m", "USD", "credit"), {"amount": "-3"}),
    (OPENAI, '1790899200,1790985600,0.3,,"m, image, input",301,Tokens',
     ("2026-10-02", "m", "USD", ""), {"amount": "0.3", "input_tokens": "301"}),
    (OPENAI, '1790899200,1790985600,0.3,eur,"m, output",1290,tokens',
     ("2026-10-02", "m", "EUR", ""), {"amount": "0.3", "output_tokens": "1290"}),
    (OPENAI, '1790899200,1790985600,0.3,usd,"m, cached input",1290,tokens',
     ("2026-10-02", "m", "USD", ""), {"amount": "0.3"}),
    (OPENAI, "1790899200,1790985600,0.3,usd,m,4,images",
     ("2026-10-02", "m", "USD", ""), {"amount": "0.3"}),
    (GCP, "Gemini API,M,2026-10-02,0.3,USD,Usage",
     ("2026-10-02", "M", "USD", ""), {"amount": "0.3"}),
    (GCP, "Gemini API,M,2026-10-02,0.3,USD,Sales TAX",
     ("2026-10-02", "M", "USD", "tax"), {"amount": "0.3"}),
    (GCP, "Invoice,TAX,2026-10-02,0.3,USD,",
     ("2026-10-02", "TAX", "USD", "tax"), {"amount": "0.3"}),
    (VOLC, "2026-10-02,m,x,0.3,,3,次",
     ("2026-10-02", "m", "CNY", ""), {"amount": "0.3", "requests": "3"}),
    (VOLC, "2026-10-02,m,x,0.3,USD,1.5,千次",
     ("2026-10-02", "m", "USD", ""), {"amount": "0.3", "requests": "1500"}),
    (VOLC, "2026-10-02,m,x,0.3,,3,张", ("2026-10-02", "m", "CNY", ""),
     {"amount": "0.3", "images": "3"}),
    (VOLC, "2026-10-02,m,x,0.3,,3,千tokens", ("2026-10-02", "m", "CNY", ""), {"amount": "0.3"}),
    (VOLC, "2026-10-02,m,x,0.3,,,次", ("2026-10-02", "m", "CNY", ""), {"amount": "0.3"}),
    (ALIYUN, "2026-10-02,p,m,0.3,,3,个,o-1", ("2026-10-02", "m", "CNY", ""),
     {"amount": "0.3", "images": "3"}),
    (QUOTA, "9,1790899200,2,m,150000,301,1290", ("2026-10-02", "m", "USD", ""),
     {"amount": "0.3", "input_tokens": "301", "output_tokens": "1290"}),
    (QUOTA, "9,1790899200,消费,m,150000,,", ("2026-10-02", "m", "USD", ""), {"amount": "0.3"}),
    (QUOTA, "9,1790899200,consume,m,150000,,", ("2026-10-02", "m", "USD", ""), {"amount": "0.3"}),
    (QUOTA, "9,1790899200,,m,150000,,", ("2026-10-02", "m", "USD", ""), {"amount": "0.3"}),
    (QUOTA, "9,1790899200,4,m,150000,,", ("2026-10-02", "m", "USD", "top-up or system"),
     {"amount": "0.3"}),
    (ROUTER, "g-1,2026-10-02T01:00:00Z,0.3,m,301,1290,false", ("2026-10-02", "m", "USD", ""),
     {"amount": "0.3", "input_tokens": "301", "output_tokens": "1290"}),
    (ROUTER, "g-1,2026-10-02T01:00:00Z,0.3,m,301,1290,TRUE", ("2026-10-02", "m", "USD", ""),
     {"amount": "0.3", "input_tokens": "301", "output_tokens": "1290"}),
    (ROUTER, "g-1,2026-10-02T01:00:00Z,,m,301,0,TRUE", ("2026-10-02", "m", "USD", "cancelled"),
     {"input_tokens": "301", "output_tokens": "0"}),
    (LITELLM, "r,0.3,2026-10-02T01:00:00Z,openai,m,other,301,1290,1591",
     ("2026-10-02", "m", "USD", ""),
     {"amount": "0.3", "input_tokens": "301", "output_tokens": "1290", "total_tokens": "1591"}),
    (QINIU, "2026-10,m,0.3,301,1290,1,2", ("2026-10", "m", "CNY", ""),
     {"amount": "0.3", "input_tokens": "301", "output_tokens": "1290", "images": "1",
      "requests": "2"}),
    (AWS, "2026-10-02T00:00:00Z,0.3,M,EUR,Usage", ("2026-10-02", "M", "EUR", ""),
     {"amount": "0.3"}),
    (AWS, "2026-10-02T00:00:00Z,0.3,M,EUR,Refund", ("2026-10-02", "M", "EUR", "refund"),
     {"amount": "0.3"}),
    (AWS, "2026-10-02T00:00:00Z,0.3,M,EUR,", ("2026-10-02", "M", "EUR", ""), {"amount": "0.3"}),
    (AZURE, "10/02/2026,M,0.3,EUR,", ("2026-10-02", "M", "EUR", ""), {"amount": "0.3"}),
    (AZURE, "10/02/2026,M,0.3,EUR,Usage", ("2026-10-02", "M", "EUR", ""), {"amount": "0.3"}),
    (AZURE, "2026-10-02,M,0.3,EUR,Tax", ("2026-10-02", "M", "EUR", "tax"), {"amount": "0.3"}),
]  # fmt: skip


@pytest.mark.parametrize(("header", "row", "where", "measures"), ROWS)
def test_each_cell_of_a_row_is_what_it_means(
    header: str, row: str, where: tuple[str, str, str | None, str], measures: dict[str, str]
) -> None:
    """Day, model, currency and kind, and every figure that the shape has a role for."""
    (line,) = read_bill("b", f"{header}\n{row}\n".encode()).lines
    assert (line.day, line.model, line.currency, line.category) == where
    assert dict(line.measures) == {name: Decimal(value) for name, value in measures.items()}
    assert (line.number, line.rows) == (2, 1)


@pytest.mark.parametrize(
    ("header", "row", "name"),
    [
        (ROUTER, "g-1,2026-10-02T01:00:00Z,0.3,m,301,1290,false", "g-1"),
        (LITELLM, "r-1,0.3,2026-10-02T01:00:00Z,openai,m,m,301,1290,1591", "r-1"),
        (ALIYUN, "2026-10-02,p,m,0.3,,3,个,o-1", "o-1"),
        (QUOTA, "9,1790899200,2,m,150000,301,1290", "9"),
    ],
)
def test_a_request_is_known_by_the_shapes_own_id(header: str, row: str, name: str) -> None:
    """Two rows are two lines where a row is a request, one sum where it is not."""
    bill = read_bill("b", f"{header}\n{row}\n{row}\n".encode())
    assert {line.id for line in bill.lines} == {name}
    assert (len(bill.lines), bill.is_itemised) == ((1, False) if header is ALIYUN else (2, True))
    if header is ALIYUN:
        assert (bill.lines[0].rows, bill.lines[0].measures["amount"]) == (2, Decimal("0.6"))


def test_a_shape_can_be_named_also_by_its_other_name() -> None:
    """`one-api` and `volc` are what people call them."""
    assert [profile_named(name) for name in NAMES] == [*PROFILES, GENERIC]
    for name, meant in (("one-api", "new-api"), ("volc", "volcengine")):
        assert profile_named(name) is profile_named(meant) is not None
    assert profile_named("acme") is None
    with pytest.raises(InputRefused, match="--profile acme: no such profile; there are focus, aws"):
        read_bill("b", b"", said=Said(profile="acme"))


def test_what_a_shape_takes_for_granted_is_said_unless_the_user_says_it() -> None:
    """The units of quota to a dollar."""
    text = f"{QUOTA}\n9,1790899200,2,m,150000,301,1290\n".encode()
    (note,) = read_bill("b", text).notes
    assert note.startswith("b: 500,000 units of quota are taken for 1 USD")
    assert read_bill("b", text, said=Said(quota_per_unit="500000")).notes == ()
    with pytest.raises(InputRefused, match="`many` is no number"):
        read_bill("b", text.replace(b"150000", b"many"))


def test_the_named_shape_is_read_where_its_header_stands() -> None:
    """Below a preamble; what looks like another shape's is not taken for one."""
    text = f"a,b\nmore,words\n{QINIU}\n2026-10,m,0.3,301,1290,1,2\n"
    for said in (Said(), Said(profile="qiniu")):
        bill = read_bill("b", text.encode(), said=said)
        assert (bill.profile, bill.lines[0].number) == ("qiniu", 4)
    generic = read_bill("b", f"{QINIU}\n2026-10,m,0.3,301,1290,1,2\n".encode(), "date=计费月",
                        said=Said("date=计费月", "generic"))  # fmt: skip
    assert (generic.profile, generic.is_itemised, generic.lines[0].currency) == (
        "generic", None, None,
    )  # fmt: skip


def test_sums_are_by_day_model_currency_and_kind() -> None:
    """What each states is added, and how many rows it was."""
    rows = ["02,m,x,0.3,,3,次", "02,m,x,0.4,,3,张", "02,m,x,1,USD,3,次", "02,other,x,0.4,,3,次",
            "03,m,x,0.4,,,", "02,m,x,0.1,,2,次"]  # fmt: skip
    bill: Bill = read_bill("b", "\n2026-10-".join([VOLC, *rows]).encode())
    sums = [(line.day[-1:], line.model, line.currency, line.rows) for line in bill.lines]
    assert sums == [
        ("2", "m", "CNY", 3), ("2", "m", "USD", 1), ("2", "other", "CNY", 1), ("3", "m", "CNY", 1),
    ]  # fmt: skip
    assert bill.lines[0].measures == {"amount": Decimal("0.8"), "requests": 5, "images": 3}
